// Package report turns the result of a compression into one offline HTML page and
// into tables for a terminal.
//
// Unstable: the package may change between releases.
//
// The page is one file without scripts or outside resources: text, tables, and
// SVG drawn here, in the reader's light or dark colours, for narrow and wide
// screens. It opens with the verdict and four figures, goes on to what was
// promised and on what it was measured, then shows the plots, each with its
// numbers as a table, and ends with the command that replays it.
//
//	compress.Result ──HTML──> report.html
//	                ──Text──> terminal
package report
