// Package data holds datasets and batches: MNIST, folders of idx files, folders of
// images, .npz; the splits between them; and pulling with checksums.
//
// Unstable: no promise of its API is made.
//
// Every dataset keeps or reads 8-bit pixels and normalises them through the model
// card at each read:
//
//	file ▶ pixels (uint8, resident or cached) ▶ card ▶ x float32 [n, C,H,W]
//
// Splits go by the SHA-256 of samples, so that duplicates stay on one side.
package data
