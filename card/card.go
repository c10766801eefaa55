package card

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var (
	// ErrCorrupt means that a card, or a file that stands for one, cannot be read.
	ErrCorrupt = errors.New("corrupt card")
	// ErrMissing means that a field that is needed is not given. It is never guessed.
	ErrMissing = errors.New("missing in the model card")
	// ErrConflict means that card and model disagree.
	ErrConflict = errors.New("model card conflicts with the model")
	// ErrTooLarge means that a picture or a size is over a limit.
	ErrTooLarge = errors.New("too large")
)

// Limits.
const (
	MaxBytes  = 1 << 20 // of a card, a preprocessor_config.json or a file of labels, in bytes
	MaxLabels = 1 << 17 // classes
	MaxSide   = 1 << 15 // of a resize or crop, in pixels
	MaxPixels = 1 << 26 // of any picture between decoding and input
	maxName   = 1 << 10 // of a name or label, in bytes
)

// Card is a model card. The zero value is "no card". Fields that are empty are
// missing; see [Card.Missing]. A Card is not changed by its methods.
type Card struct {
	Task    string   // classify, embed, detect, restore, none; "" unknown
	Input   Input    // how a picture becomes the input
	Output  Output   // what the output means
	Labels  []string // class names in the order of the output, nil unknown
	Licence string   // SPDX identifier or a few words
}

// Input is how a picture becomes the input.
type Input struct {
	Name   string    // of the graph's input, "" where there is one input
	Color  string    // rgb, bgr, gray
	Orient string    // ignore (also ""), exif: turn the picture as its EXIF orientation says
	Layout string    // nchw, nhwc; "" as the graph shows
	Resize *Resize   // nil: none, pictures must have the size
	Crop   Size      // centred, after resizing; zero: none
	Scale  float64   // 0 missing
	Mean   []float64 // one value or one a channel, in the order of Color; nil missing
	Std    []float64 // likewise, no zeros
}

// Resize is the resize step.
type Resize struct {
	Mode   string // shorter: the shorter side becomes Size; stretch; letterbox: fits into Size, centred
	Size   Size   // zero: the input's own size (stretch and letterbox only)
	Filter string // one of Filters
	Fill   int    // the pixel value around a letterbox, 0..255
}

// Size is a height and a width in pixels. In YAML one number stands for both.
type Size struct{ H, W int }

// Output is what the output means.
type Output struct {
	Name       string
	Activation string // what the graph has already applied: none, softmax, sigmoid, log_softmax
}

// The words that fields may hold. The empty string is allowed everywhere.
var (
	tasks       = []string{"classify", "embed", "detect", "restore", "none"}
	colors      = []string{"rgb", "bgr", "gray"}
	orients     = []string{"ignore", "exif"}
	layouts     = []string{"nchw", "nhwc"}
	modes       = []string{"shorter", "stretch", "letterbox"}
	activations = []string{"none", "softmax", "sigmoid", "log_softmax"}
)

// Filters lists the resize filters: Pillow's (antialiased, fixed point) and
// OpenCV's (INTER_NEAREST, INTER_LINEAR, INTER_CUBIC, INTER_AREA).
func Filters() []string {
	return []string{"pil-nearest", "pil-box", "pil-bilinear", "pil-hamming", "pil-bicubic", "pil-lanczos", "cv-nearest", "cv-linear", "cv-cubic", "cv-area"}
}

// IsZero reports whether c says nothing.
func (c Card) IsZero() bool {
	i := c.Input
	return c.Task == "" && c.Licence == "" && len(c.Labels) == 0 && c.Output == (Output{}) &&
		i.Name == "" && i.Color == "" && i.Orient == "" && i.Layout == "" && i.Resize == nil && i.Crop == (Size{}) &&
		i.Scale == 0 && i.Mean == nil && i.Std == nil
}

// Clone is a deep copy.
func (c Card) Clone() Card {
	c.Labels = slices.Clone(c.Labels)
	c.Input.Mean, c.Input.Std = slices.Clone(c.Input.Mean), slices.Clone(c.Input.Std)
	if c.Input.Resize != nil {
		r := *c.Input.Resize
		c.Input.Resize = &r
	}
	return c
}

// Channels is 1 for gray, 3 for rgb and bgr, 0 where the colour is missing.
func (c Card) Channels() int {
	switch c.Input.Color {
	case "gray":
		return 1
	case "rgb", "bgr":
		return 3
	}
	return 0
}

// Missing names the fields that a picture needs and the card does not give, for
// example "input.mean". A missing resize shows only when a picture has another
// size than the input.
func (c Card) Missing() []string {
	var m []string
	i := c.Input
	if i.Color == "" {
		m = append(m, "input.color")
	}
	if r := i.Resize; r != nil {
		if r.Mode == "" {
			m = append(m, "input.resize.mode")
		}
		if r.Filter == "" {
			m = append(m, "input.resize.filter")
		}
		if r.Mode == "shorter" && r.Size == (Size{}) {
			m = append(m, "input.resize.size")
		}
	}
	if i.Scale == 0 {
		m = append(m, "input.scale")
	}
	if i.Mean == nil {
		m = append(m, "input.mean")
	}
	if i.Std == nil {
		m = append(m, "input.std")
	}
	return m
}

// check reports fields whose values are wrong in themselves; missing ones pass.
func (c Card) check() error {
	word := func(field, v string, list []string) error {
		if v == "" || slices.Contains(list, v) {
			return nil
		}
		return fmt.Errorf("%w: %s is %q, want one of %s", ErrCorrupt, field, clip(v), strings.Join(list, ", "))
	}
	side := func(field string, s Size) error {
		if s != (Size{}) && (s.H < 1 || s.W < 1 || s.H > MaxSide || s.W > MaxSide) {
			return fmt.Errorf("%w: %s is %dx%d, want sides of 1 to %d", ErrCorrupt, field, s.H, s.W, MaxSide)
		}
		return nil
	}
	i := c.Input
	errs := []error{
		word("task", c.Task, tasks), word("input.color", i.Color, colors), word("input.orient", i.Orient, orients),
		word("input.layout", i.Layout, layouts), word("output.activation", c.Output.Activation, activations),
		side("input.crop", i.Crop),
	}
	if r := i.Resize; r != nil {
		errs = append(errs, word("input.resize.mode", r.Mode, modes), word("input.resize.filter", r.Filter, Filters()), side("input.resize.size", r.Size))
		if r.Fill < 0 || r.Fill > 255 {
			errs = append(errs, fmt.Errorf("%w: input.resize.fill is %d, want 0 to 255", ErrCorrupt, r.Fill))
		}
		if r.Mode == "shorter" && r.Size.H != r.Size.W {
			errs = append(errs, fmt.Errorf("%w: input.resize.size: mode shorter takes one number, found %dx%d", ErrCorrupt, r.Size.H, r.Size.W))
		}
	}
	if !finite(i.Scale) {
		errs = append(errs, fmt.Errorf("%w: input.scale is %v", ErrCorrupt, i.Scale))
	}
	for _, f := range []struct {
		name string
		v    []float64
	}{{"input.mean", i.Mean}, {"input.std", i.Std}} {
		if n := len(f.v); f.v != nil && n != 1 && n != 3 || c.Channels() == 1 && n > 1 {
			errs = append(errs, fmt.Errorf("%w: %s has %d values, want 1 or one a channel", ErrCorrupt, f.name, n))
		}
		for _, x := range f.v {
			if !finite(x) || f.name == "input.std" && x == 0 {
				errs = append(errs, fmt.Errorf("%w: %s holds %v", ErrCorrupt, f.name, x))
				break
			}
		}
	}
	if len(c.Labels) > MaxLabels {
		errs = append(errs, fmt.Errorf("%w: %d labels, at most %d", ErrCorrupt, len(c.Labels), MaxLabels))
	}
	for _, s := range [][2]string{{"input.name", i.Name}, {"output.name", c.Output.Name}, {"licence", c.Licence}} {
		if len(s[1]) > maxName {
			errs = append(errs, fmt.Errorf("%w: %s is longer than %d bytes", ErrCorrupt, s[0], maxName))
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func finite(x float64) bool { return x-x == 0 }

// clip shortens text from outside for a message.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
