package card

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const example = `card: 1
task: classify
input: {name: input, color: rgb, orient: ignore,
  resize: {mode: shorter, size: 256, filter: pil-bilinear},
  crop: 224, scale: 0.0039215686, mean: [.485,.456,.406], std: [.229,.224,.225]}
output: {name: logits, activation: none}
labels: [cat, dog, 3]
licence: Apache-2.0
`

func TestParse(t *testing.T) {
	c, err := Parse([]byte(example), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Card{Task: "classify", Labels: []string{"cat", "dog", "3"}, Licence: "Apache-2.0",
		Output: Output{"logits", "none"},
		Input: Input{Name: "input", Color: "rgb", Orient: "ignore", Crop: Size{224, 224}, Scale: 0.0039215686,
			Resize: &Resize{Mode: "shorter", Size: Size{256, 256}, Filter: "pil-bilinear"},
			Mean:   []float64{.485, .456, .406}, Std: []float64{.229, .224, .225}}}
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
	b, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(b, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if d := cmp.Diff(c, again); d != "" {
		t.Errorf("%s\n%s", b, d)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "card: 1\ntask: classify\nfoo: 3\n", "[3:1]"},
		{"unknown inner key", "card: 1\ninput: {colour: rgb}\n", "[2:"},
		{"version", "card: 2\n", "card: 2"},
		{"word", "card: 1\ntask: guess\n", "guess"},
		{"size", "card: 1\ninput: {crop: [1,2,3]}\n", "height and width"},
		{"std", "card: 1\ninput: {color: gray, std: 0}\n", "input.std"},
		{"labels file", "card: 1\nlabels: l.txt\n", "must be a list"},
		{"alias", "card: 1\ninput: &a {color: rgb}\noutput: *a\n", "anchors"},
		{"empty", "", "corrupt"},
		{"deep", strings.Repeat("[", 5000), "nests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.yaml), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, c.want)
			}
		})
	}
}

func TestLoadOrder(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "m.onnx")
	write := func(name, s string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	load := func(s Source) Card {
		t.Helper()
		c, err := Load(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	meta := map[string]string{"Image.BitmapPixelFormat": "Bgr8", "Image.ColorSpaceGamma": "SRGB", "Image.NominalPixelRange": "Normalized_0_1"}
	s := Source{Model: model, Meta: map[string]string{"Image.BitmapPixelFormat": "Bgr8"}}
	if c := load(s); !c.IsZero() {
		t.Errorf("incomplete metadata: %v", c)
	}
	s.Meta = meta
	if c := load(s); c.Input.Color != "bgr" || c.Input.Scale != 1.0/255 {
		t.Errorf("metadata: %v", c)
	}
	write("preprocessor_config.json", `{"do_resize":true,"size":{"height":10,"width":20},"resample":3,"image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5]}`)
	if c := load(s); c.Input.Resize == nil || c.Input.Resize.Filter != "pil-bicubic" || c.Input.Resize.Size != (Size{10, 20}) {
		t.Errorf("preprocessor_config.json: %v", c)
	}
	write("m.card.yaml", "card: 1\ninput: {color: gray}\nlabels: l.txt\n")
	write("l.txt", "a\r\nb\n")
	if c := load(s); c.Input.Color != "gray" || len(c.Labels) != 2 || c.Labels[0] != "a" {
		t.Errorf("card beside the model: %v", c)
	}
	s.Own = []byte("card: 1\ninput: {color: rgb}\n")
	if c := load(s); c.Input.Color != "rgb" {
		t.Errorf("own card: %v", c)
	}
	s.Flag = "symmetric"
	if c := load(s); c.Input.Std[0] != .5 {
		t.Errorf("preset: %v", c)
	}
	s.Flag = filepath.Join(dir, "m.card.yaml")
	if c := load(s); c.Input.Color != "gray" {
		t.Errorf("file: %v", c)
	}
	s.Flag = "nosuch"
	if _, err := Load(s); err == nil || !strings.Contains(err.Error(), "imagenet") {
		t.Errorf("unknown preset: %v", err)
	}
	write("m.card.yaml", "card: 1\nlabels: ../l.txt\n")
	if _, err := Load(Source{Model: model}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("labels outside the folder: %v", err)
	}
}

// TestFromPreprocessor has the forms in which published image models say it.
func TestFromPreprocessor(t *testing.T) {
	half := []float64{.5, .5, .5}
	const norm = `"image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5]`
	for _, c := range []struct {
		name, json string
		want       Input
		missing    string
	}{
		{"both sides", `{"size":224,"resample":2,` + norm + `}`,
			Input{Resize: &Resize{Mode: "stretch", Size: Size{224, 224}, Filter: "pil-bilinear"}}, ""},
		{"shorter and crop", `{"size":{"shortest_edge":256},"resample":3,"do_center_crop":true,"crop_size":{"height":224,"width":200},` + norm + `}`,
			Input{Resize: &Resize{Mode: "shorter", Size: Size{256, 256}, Filter: "pil-bicubic"}, Crop: Size{224, 200}}, ""},
		{"crop_pct", `{"size":{"shortest_edge":224},"crop_pct":0.875,"resample":3,` + norm + `}`,
			Input{Resize: &Resize{Mode: "shorter", Size: Size{256, 256}, Filter: "pil-bicubic"}, Crop: Size{224, 224}}, ""},
		{"crop_pct, large", `{"size":{"shortest_edge":384},"crop_pct":1,"resample":3,` + norm + `}`,
			Input{Resize: &Resize{Mode: "stretch", Size: Size{384, 384}, Filter: "pil-bicubic"}}, ""},
		{"levit", `{"image_processor_type":"LevitImageProcessor","size":{"shortest_edge":224},"do_center_crop":true,"crop_size":{"height":224,"width":224},"resample":3,` + norm + `}`,
			Input{Resize: &Resize{Mode: "shorter", Size: Size{256, 256}, Filter: "pil-bicubic"}, Crop: Size{224, 224}}, ""},
		{"flipped, no normalisation", `{"do_normalize":false,"do_flip_channel_order":true}`,
			Input{Color: "bgr", Mean: []float64{0}, Std: []float64{1}}, ""},
		{"offset", `{"rescale_factor":0.0078125,"rescale_offset":true,"do_normalize":false}`,
			Input{Scale: 1.0 / 128, Mean: []float64{1}, Std: []float64{1}}, ""},
		{"unknown size", `{"size":{"longest_edge":800},"resample":2,` + norm + `}`,
			Input{Resize: &Resize{Filter: "pil-bilinear"}}, "input.resize.mode"},
		{"no mean", `{"size":224,"resample":2,"image_std":[0.5,0.5,0.5]}`,
			Input{Resize: &Resize{Mode: "stretch", Size: Size{224, 224}, Filter: "pil-bilinear"}, Mean: []float64{}, Std: half}, "input.mean"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := FromPreprocessor([]byte(c.json))
			if err != nil {
				t.Fatal(err)
			}
			w := c.want
			w.Orient = "ignore"
			if w.Color == "" {
				w.Color = "rgb"
			}
			if w.Scale == 0 {
				w.Scale = 1.0 / 255
			}
			if w.Mean == nil {
				w.Mean, w.Std = half, half
			} else if len(w.Mean) == 0 {
				w.Mean = nil
			}
			if d := cmp.Diff(w, got.Input); d != "" {
				t.Error(d)
			}
			if m := strings.Join(got.Missing(), " "); m != c.missing {
				t.Errorf("missing %q, want %q", m, c.missing)
			}
		})
	}
	if _, err := FromPreprocessor([]byte(`{"size":{"shortest_edge":224},"crop_pct":0}`)); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("card: 1\ninput: {crop: [3, 4], mean: 1}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b, nil)
		if err != nil {
			return
		}
		y, err := c.YAML()
		if err != nil {
			t.Fatalf("%v from %q", err, b)
		}
		if _, err := Parse(y, nil); err != nil {
			t.Errorf("%q does not read back: %v", y, err)
		}
	})
}

func FuzzPreprocessor(f *testing.F) {
	f.Add([]byte(`{"size":224,"do_center_crop":true,"crop_size":{"height":1,"width":2},"resample":2}`))
	f.Fuzz(func(t *testing.T, b []byte) { FromPreprocessor(b) })
}
