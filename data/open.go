package data

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"whit/card"
)

// Options of Open. The zero value is the default.
type Options struct {
	// Classes is the number of the network's classes, where the card has no labels; 0 unknown.
	Classes int
	// SkipBroken passes over pictures that cannot be decoded and counts them;
	// otherwise the first is an error.
	SkipBroken bool
	// MaxPixels is the largest picture that is decoded; 0: the constant MaxPixels.
	MaxPixels int
	// CacheBytes bounds the decoded pixels kept in memory, a byte a channel and pixel
	// of the input; 0: 1 GiB; below 0: none.
	CacheBytes int64
	// Progress, if set, is told how many of the pictures have been looked at.
	Progress func(done, total int)
}

// Open opens a dataset for a network whose input has the shape in, without N:
// [C,H,W], [H,W,C] or [K]; dimensions below 1 are unknown, nil is all unknown. name is
//   - "mnist": from the cache or through the Go tool;
//   - a folder of idx files in MNIST's names, gzipped or not;
//   - a folder of pictures, labelled by sub-folder or not, or one with train/ and test/;
//   - an .npz file: x, optional y, or x_train, y_train, x_test, y_test. It bypasses the card.
//
// c is the model card, nil where there is none: MNIST and idx folders are then read
// with MNISTCard, pictures are an error (card.ErrMissing) that names what is needed.
// Pictures are decoded once while the cache has room, so that a broken one shows
// here; later reads decode again what is not in the cache.
func Open(ctx context.Context, name string, c *card.Card, in []int, opt Options) (Sets, error) {
	switch {
	case opt.CacheBytes == 0:
		opt.CacheBytes = 1 << 30
	case opt.CacheBytes < 0:
		opt.CacheBytes = 0
	}
	if c != nil && c.IsZero() {
		c = nil
	}
	mnist := MNISTCard()
	if name == "mnist" {
		dir, err := Pull(ctx, "mnist")
		if err != nil {
			return Sets{}, err
		}
		return openDigits(ctx, dir, "mnist", c, &mnist, in)
	}
	st, err := os.Stat(name)
	if err != nil {
		var known []string
		for _, s := range sources {
			known = append(known, s.Name)
		}
		return Sets{}, fmt.Errorf("data %q: no such folder or file, and not one of the datasets %s", name, strings.Join(known, ", "))
	}
	switch {
	case st.IsDir() && isIDXDir(name):
		return openDigits(ctx, name, filepath.Base(name), c, &mnist, in)
	case st.IsDir():
		return openFolder(ctx, name, c, in, opt)
	case strings.EqualFold(filepath.Ext(name), ".npz"):
		return openNPZ(name, c, in, opt)
	}
	return Sets{}, fmt.Errorf("data %s: want a folder or an .npz file", filepath.Base(name))
}

// openDigits reads idx files through c, or def where there is no card.
func openDigits(ctx context.Context, dir, base string, c, def *card.Card, in []int) (Sets, error) {
	shape := in
	if c == nil || len(c.Missing()) > 0 && c.Input.Color == "" && c.Input.Scale == 0 && c.Input.Mean == nil {
		// Nothing is said about the input: MNIST's own, kept to any input of 784 values.
		d := def.Clone()
		if c != nil && len(c.Labels) > 0 {
			d.Labels = c.Labels
		}
		c = &d
		if in == nil {
			shape = []int{1, 28, 28}
		}
	}
	shape, err := inputShape(c, shape)
	if err != nil {
		return Sets{}, fmt.Errorf("%s: %w", base, err)
	}
	s, err := openIDX(ctx, dir, c, shape)
	if err != nil {
		return Sets{}, fmt.Errorf("%s: %w", base, err)
	}
	return s, nil
}

// inputShape fills the unknown dimensions of an input from the card: height and width
// from the crop or the resize, channels from the colour.
func inputShape(c *card.Card, in []int) ([]int, error) {
	known := len(in) > 0
	for _, d := range in {
		known = known && d > 0
	}
	if known {
		return slices.Clone(in), nil
	}
	i := c.Input
	s := i.Crop
	if s == (card.Size{}) && i.Resize != nil && i.Resize.Mode != "shorter" {
		s = i.Resize.Size
	}
	var missing []string
	if c.Channels() == 0 {
		missing = append(missing, "input.color")
	}
	if s == (card.Size{}) {
		missing = append(missing, "input.resize.size or input.crop (the model leaves its input's size open)")
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: %s", card.ErrMissing, strings.Join(missing, ", "))
	}
	fill := []int{c.Channels(), s.H, s.W}
	if i.Layout == "nhwc" || i.Layout == "" && len(in) == 3 && in[2] == c.Channels() && in[0] != c.Channels() {
		fill = []int{s.H, s.W, c.Channels()}
	}
	if len(in) == 0 {
		return fill, nil
	}
	if len(in) == 1 {
		return []int{c.Channels() * s.H * s.W}, nil
	}
	if len(in) != 3 {
		return nil, fmt.Errorf("%w: an input of shape %v takes no pictures", card.ErrConflict, in)
	}
	out := slices.Clone(in)
	for k, d := range out {
		if d < 1 {
			out[k] = fill[k]
		}
	}
	return out, nil
}
