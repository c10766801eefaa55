// Package tuned keeps choices of kernels that were measured on this machine, a file a
// model and binding under $WHIT_CACHE.
//
//	Key ──Choices──▶ kept before? replay : measure, keep
package tuned
