package card

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Source says where a card may be. The first that is there wins, in the order of
// the fields.
type Source struct {
	Flag  string            // a card file, or a preset's name
	Own   []byte            // the card in the model file itself
	Model string            // the model's path: NAME.card.yaml, then preprocessor_config.json, beside it
	Meta  map[string]string // ONNX metadata_props: Image.* where complete
}

// Presets are the names that stand for an input of pictures: imagenet
// (shorter side 256, crop 224, mean and deviation of ImageNet), unit (0..1),
// symmetric (-1..1) and raw (0..255), all rgb, stretched to the input's size but
// for imagenet.
func Presets() []string { return []string{"imagenet", "unit", "symmetric", "raw"} }

// Preset is the card of that name; false where there is none.
func Preset(name string) (Card, bool) {
	in := Input{Color: "rgb", Orient: "ignore", Resize: &Resize{Mode: "stretch", Filter: "pil-bilinear"}, Scale: 1.0 / 255, Mean: []float64{0}, Std: []float64{1}}
	switch name {
	case "imagenet":
		in.Resize = &Resize{Mode: "shorter", Size: Size{256, 256}, Filter: "pil-bilinear"}
		in.Crop = Size{224, 224}
		in.Mean, in.Std = []float64{.485, .456, .406}, []float64{.229, .224, .225}
	case "unit":
	case "symmetric":
		in.Mean, in.Std = []float64{.5}, []float64{.5}
	case "raw":
		in.Scale = 1
	default:
		return Card{}, false
	}
	return Card{Input: in}, true
}

// Load is the first card that s leads to; the zero Card where none does. A card
// that is there and cannot be read is an error, never passed over.
func Load(s Source) (Card, error) {
	if s.Flag != "" {
		if c, ok := Preset(s.Flag); ok {
			return c, nil
		}
		c, err := ReadFile(s.Flag)
		if errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("card %q: no such file, and not one of the presets %s", s.Flag, strings.Join(Presets(), ", "))
		}
		return c, err
	}
	if len(s.Own) > 0 {
		c, err := Parse(s.Own, nil)
		if err != nil {
			return c, fmt.Errorf("its card: %w", err)
		}
		return c, nil
	}
	if s.Model != "" {
		dir, base := filepath.Split(s.Model)
		stem := strings.TrimSuffix(base, filepath.Ext(base))
		c, err := ReadFile(filepath.Join(dir, stem+".card.yaml"))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
		b, err := readBounded(filepath.Join(dir, "preprocessor_config.json"))
		if err == nil {
			if c, err = FromPreprocessor(b); err != nil {
				return c, fmt.Errorf("preprocessor_config.json: %w", err)
			}
			return c, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return fromImageMeta(s.Meta), nil
}

// ReadFile reads a card file; labels may be in a file beside it.
func ReadFile(path string) (Card, error) {
	b, err := readBounded(path)
	if err != nil {
		return Card{}, err
	}
	c, err := Parse(b, func(name string) ([]byte, error) {
		if name != filepath.Base(name) || name == "." || name == ".." {
			return nil, fmt.Errorf("%w: %q is not the name of a file beside the card", ErrCorrupt, clip(name))
		}
		return readBounded(filepath.Join(filepath.Dir(path), name))
	})
	if err != nil {
		return Card{}, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return c, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrTooLarge, filepath.Base(path), MaxBytes)
	}
	return b, nil
}

// FromPreprocessor reads a preprocessor_config.json as image models are published
// with. What it leaves out stays missing.
func FromPreprocessor(b []byte) (Card, error) {
	if len(b) > MaxBytes {
		return Card{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(b), MaxBytes)
	}
	var p struct {
		DoResize      *bool           `json:"do_resize"`
		Size          json.RawMessage `json:"size"`
		Resample      *int            `json:"resample"`
		DoCenterCrop  *bool           `json:"do_center_crop"`
		CropSize      json.RawMessage `json:"crop_size"`
		DoRescale     *bool           `json:"do_rescale"`
		RescaleFactor *float64        `json:"rescale_factor"`
		DoNormalize   *bool           `json:"do_normalize"`
		RescaleOffset bool            `json:"rescale_offset"`
		FlipChannels  bool            `json:"do_flip_channel_order"`
		CropPct       *float64        `json:"crop_pct"`
		Mean          []float64       `json:"image_mean"`
		Std           []float64       `json:"image_std"`
		Processor     string          `json:"image_processor_type"`
		Extractor     string          `json:"feature_extractor_type"`
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return Card{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	yes := func(b *bool, def bool) bool { return b == nil && def || b != nil && *b }
	c := Card{Input: Input{Color: "rgb", Orient: "ignore"}}
	in := &c.Input
	if yes(p.DoResize, len(p.Size) > 0) {
		r := &Resize{}
		var edge int
		var box struct {
			Height, Width, Shortest int
		}
		var raw map[string]int
		switch {
		case json.Unmarshal(p.Size, &edge) == nil:
			// One number: both sides for models that do not crop, else the shorter side.
			r.Mode, r.Size = "stretch", Size{edge, edge}
			if yes(p.DoCenterCrop, false) {
				r.Mode = "shorter"
			}
		case json.Unmarshal(p.Size, &raw) == nil:
			box.Height, box.Width, box.Shortest = raw["height"], raw["width"], raw["shortest_edge"]
			if box.Shortest > 0 {
				r.Mode, r.Size = "shorter", Size{box.Shortest, box.Shortest}
			} else if box.Height > 0 && box.Width > 0 {
				r.Mode, r.Size = "stretch", Size{box.Height, box.Width}
			}
		}
		if p.Resample != nil {
			filters := []string{"pil-nearest", "pil-lanczos", "pil-bilinear", "pil-bicubic", "pil-box", "pil-hamming"}
			if *p.Resample >= 0 && *p.Resample < len(filters) {
				r.Filter = filters[*p.Resample]
			}
		}
		in.Resize = r
	}
	kind := p.Processor + p.Extractor
	if r := in.Resize; r != nil && r.Mode == "shorter" {
		switch edge := r.Size.H; {
		case p.CropPct != nil && (*p.CropPct <= 0 || *p.CropPct > 1):
			return Card{}, fmt.Errorf("%w: crop_pct is %v, want a fraction", ErrCorrupt, *p.CropPct)
		case p.CropPct != nil && edge < 384: // ConvNeXT: the edge is what remains after the crop
			n := int(min(float64(edge) / *p.CropPct, MaxSide+1))
			r.Size, in.Crop = Size{n, n}, Size{edge, edge}
		case p.CropPct != nil:
			r.Mode = "stretch"
		case strings.HasPrefix(kind, "Levit"): // the edge is in proportion to a crop of 224
			n := int(256.0 / 224 * float64(min(max(edge, 0), MaxSide)))
			r.Size = Size{n, n}
		}
	}
	if yes(p.DoCenterCrop, false) {
		var edge int
		var raw map[string]int
		if json.Unmarshal(p.CropSize, &edge) == nil {
			in.Crop = Size{edge, edge}
		} else if json.Unmarshal(p.CropSize, &raw) == nil {
			in.Crop = Size{raw["height"], raw["width"]}
		}
	}
	in.Scale = 1
	if yes(p.DoRescale, true) {
		in.Scale = 1.0 / 255
		if p.RescaleFactor != nil {
			in.Scale = *p.RescaleFactor
		}
	}
	in.Mean, in.Std = []float64{0}, []float64{1}
	if yes(p.DoNormalize, true) {
		in.Mean, in.Std = p.Mean, p.Std
	}
	if p.RescaleOffset { // EfficientNet: less 1 after rescaling
		in.Mean = slices.Clone(in.Mean)
		for i := range in.Mean {
			in.Mean[i]++
		}
	}
	if p.FlipChannels {
		in.Color = "bgr"
	}
	return c, c.check()
}

// fromImageMeta reads the metadata that ONNX defines for models of pictures
// (Image.BitmapPixelFormat, Image.ColorSpaceGamma, Image.NominalPixelRange); it
// says nothing unless all three are there and understood.
func fromImageMeta(meta map[string]string) Card {
	format, gamma, rng := meta["Image.BitmapPixelFormat"], meta["Image.ColorSpaceGamma"], meta["Image.NominalPixelRange"]
	if format == "" || gamma != "SRGB" && gamma != "Linear" || rng == "" {
		return Card{}
	}
	in := Input{Orient: "ignore", Mean: []float64{0}, Std: []float64{1}}
	switch format {
	case "Gray8":
		in.Color = "gray"
	case "Rgb8":
		in.Color = "rgb"
	case "Bgr8":
		in.Color = "bgr"
	default:
		return Card{}
	}
	switch rng {
	case "NominalRange_0_255":
		in.Scale = 1
	case "Normalized_0_1":
		in.Scale = 1.0 / 255
	case "Normalized_1_1":
		in.Scale, in.Mean, in.Std = 1.0/255, []float64{.5}, []float64{.5}
	default:
		return Card{}
	}
	return Card{Input: in}
}

// String is one line for messages: colour, resize, crop, normalisation.
func (c Card) String() string {
	if c.IsZero() {
		return "no card"
	}
	i := c.Input
	var s []string
	s = append(s, i.Color)
	if r := i.Resize; r != nil {
		size := "to the input"
		if r.Size != (Size{}) {
			size = fmt.Sprintf("%dx%d", r.Size.H, r.Size.W)
		}
		s = append(s, fmt.Sprintf("%s %s %s", r.Mode, size, r.Filter))
	}
	if i.Crop != (Size{}) {
		s = append(s, fmt.Sprintf("crop %dx%d", i.Crop.H, i.Crop.W))
	}
	s = append(s, "scale "+strconv.FormatFloat(i.Scale, 'g', 6, 64), fmt.Sprintf("mean %v std %v", i.Mean, i.Std))
	return strings.Join(slices.DeleteFunc(s, func(x string) bool { return x == "" }), ", ")
}
