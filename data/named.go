package data

import (
	"path/filepath"
	"strconv"
	"strings"
)

// Named is what a dataset knows of its samples beside their classes.
type Named interface {
	// Name is a picture's file with its class folder's name, or the sample's number.
	Name(i int) string
	// Group is the folders between a picture's class folder and itself, or an .npz's array
	// group: "" without one. What is measured is listed by group too.
	Group(i int) string
}

// NamedOf is what d has of names; ok is false where it has none.
func NamedOf(d any) (n Named, ok bool) {
	switch d := d.(type) {
	case *subset:
		if n, ok = NamedOf(d.Dataset); ok {
			return &subNames{n, d.idx}, true
		}
		return nil, false
	case *reshaped:
		return NamedOf(d.Dataset)
	}
	if w, is := d.(interface{ Unwrap() any }); is { // a view of the same samples, or of the first of them
		return NamedOf(w.Unwrap())
	}
	n, ok = d.(Named)
	return n, ok
}

type subNames struct {
	Named
	idx []int
}

func (s *subNames) Name(i int) string  { return s.Named.Name(s.idx[i]) }
func (s *subNames) Group(i int) string { return s.Named.Group(s.idx[i]) }

// rel is a file's path below the folder that was opened, with slashes.
func (f *folder) rel(i int) string {
	r, err := filepath.Rel(f.dir, f.files[i])
	if err != nil {
		return filepath.Base(f.files[i])
	}
	return filepath.ToSlash(r)
}

// Name implements Named.
func (f *folder) Name(i int) string { return f.rel(i) }

// Group implements Named.
func (f *folder) Group(i int) string {
	p := strings.Split(f.rel(i), "/")
	if f.y == nil || len(p) < 3 {
		return ""
	}
	return strings.Join(p[1:len(p)-1], "/")
}

// Name implements Named.
func (a *array) Name(i int) string { return strconv.Itoa(i) }

// Group implements Named.
func (a *array) Group(i int) string {
	if a.group == nil {
		return ""
	}
	return strconv.Itoa(int(a.group[i]))
}
