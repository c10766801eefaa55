package data

import (
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"whit/internal/safefile"
)

// Pictures is a Dataset that can show its samples as pictures, before the card.
type Pictures interface {
	Dataset
	// Picture is sample i as it came, before resizing and normalisation.
	Picture(i int) (image.Image, error)
}

// Picture implements Pictures: the gray image of the idx file.
func (p *pixels) Picture(i int) (image.Image, error) {
	if i < 0 || i >= p.Len() {
		return nil, fmt.Errorf("picture %d of %d", i, p.Len())
	}
	return &image.Gray{Pix: p.raw[i*p.rawLen : (i+1)*p.rawLen : (i+1)*p.rawLen], Stride: p.rawW, Rect: image.Rect(0, 0, p.rawW, p.rawLen/p.rawW)}, nil
}

// Picture implements Pictures: the decoded file.
func (f *folder) Picture(i int) (image.Image, error) {
	if i < 0 || i >= len(f.files) {
		return nil, fmt.Errorf("picture %d of %d", i, len(f.files))
	}
	return DecodeImage(f.files[i])
}

// Picture implements Pictures where the dataset beneath does.
func (s *subset) Picture(i int) (image.Image, error) {
	if i < 0 || i >= len(s.idx) {
		return nil, fmt.Errorf("picture %d of %d", i, len(s.idx))
	}
	return pictureOf(s.Dataset, s.idx[i])
}

// Picture implements Pictures where the dataset beneath does.
func (r *reshaped) Picture(i int) (image.Image, error) { return pictureOf(r.Dataset, i) }

func pictureOf(d Dataset, i int) (image.Image, error) {
	p, ok := d.(Pictures)
	if !ok {
		return nil, fmt.Errorf("the data are arrays, not pictures")
	}
	return p.Picture(i)
}

// WriteImages writes n samples of d as PNG files into dir/LABEL/NUMBER.png, as equally
// many of each class as there are, the first of each in the order of d: class folders
// that Open reads back. dir is created; files of the same names are replaced. It
// returns the indices of the samples written, ascending. d must implement Pictures.
func WriteImages(ctx context.Context, dir string, d Dataset, n int) ([]int, error) {
	labels := d.Labels()
	if len(labels) == 0 {
		return nil, fmt.Errorf("write images: the data have no labels")
	}
	if n > d.Len() {
		n = d.Len()
	}
	y, err := ClassesOf(ctx, d)
	if err != nil {
		return nil, err
	}
	byClass := make([][]int, len(labels))
	for i, c := range y {
		if c >= 0 && int(c) < len(labels) {
			byClass[c] = append(byClass[c], i)
		}
	}
	var pick []int
	for round := 0; len(pick) < n; round++ {
		before := len(pick)
		for _, list := range byClass {
			if round < len(list) && len(pick) < n {
				pick = append(pick, list[round])
			}
		}
		if len(pick) == before {
			break
		}
	}
	slices.Sort(pick)
	for _, l := range labels {
		if l == "" || l != filepath.Base(l) || strings.HasPrefix(l, ".") || strings.ContainsAny(l, `/\:`) {
			return nil, fmt.Errorf("write images: the label %q cannot be a folder's name", l)
		}
	}
	width := len(fmt.Sprint(d.Len() - 1))
	for _, i := range pick {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		img, err := pictureOf(d, i)
		if err != nil {
			return nil, fmt.Errorf("write images: %w", err)
		}
		sub := filepath.Join(dir, labels[y[i]])
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, err
		}
		name := filepath.Join(sub, fmt.Sprintf("%0*d.png", width, i))
		if err := safefile.Write(name, func(w io.Writer) error { return png.Encode(w, img) }); err != nil {
			return nil, err
		}
	}
	return pick, nil
}

// ClassesOf reads the classes of all samples, -1 where there is none.
func ClassesOf(ctx context.Context, d Dataset) ([]int32, error) {
	if len(d.Labels()) == 0 {
		y := make([]int32, d.Len())
		for i := range y {
			y[i] = -1
		}
		return y, nil
	}
	if c, ok := d.(interface{ classes() []int32 }); ok {
		if y := c.classes(); y != nil {
			return y, nil
		}
	}
	y := make([]int32, d.Len())
	const step = 256
	x := make([]float32, step*size(d))
	idx := make([]int, step)
	for at := 0; at < len(y); at += step {
		k := min(step, len(y)-at)
		for j := range k {
			idx[j] = at + j
		}
		if err := d.Read(ctx, idx[:k], x, y[at:at+k]); err != nil {
			return nil, err
		}
	}
	return y, nil
}

// classes are the classes where they are known without reading samples; nil else.
func (p *pixels) classes() []int32   { return slices.Clone(p.y) }
func (f *folder) classes() []int32   { return slices.Clone(f.y) }
func (a *array) classes() []int32    { return slices.Clone(a.y) }
func (r *reshaped) classes() []int32 { return known(r.Dataset) }
func (s *subset) classes() []int32 {
	all := known(s.Dataset)
	if all == nil {
		return nil
	}
	y := make([]int32, len(s.idx))
	for k, i := range s.idx {
		y[k] = all[i]
	}
	return y
}

func known(d Dataset) []int32 {
	if c, ok := d.(interface{ classes() []int32 }); ok {
		return c.classes()
	}
	return nil
}
