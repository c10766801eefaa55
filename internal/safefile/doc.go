// Package safefile writes files whole or not at all, and keeps two writers off
// one output.
//
//	write ▶ .NAME.tmp* ▶ sync ▶ check ▶ rename to NAME
//
// Whenever the process dies, NAME is what it was or all of what it was to become.
package safefile
