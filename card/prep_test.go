package card

import (
	"errors"
	"image"
	"image/color"
	"slices"
	"strings"
	"testing"

	"whit/tensor"
)

func input(color string, r *Resize, crop Size) Card {
	return Card{Input: Input{Color: color, Resize: r, Crop: crop, Scale: 1, Mean: []float64{0}, Std: []float64{1}}}
}

// TestGeometry compares with what torchvision's Resize and CenterCrop compute.
func TestGeometry(t *testing.T) {
	shorter := &Resize{Mode: "shorter", Size: Size{256, 256}, Filter: "pil-bilinear"}
	letter := &Resize{Mode: "letterbox", Size: Size{64, 64}, Filter: "cv-linear", Fill: 114}
	for _, c := range []struct {
		name  string
		card  Card
		shape []int
		h, w  int
		want  geometry
	}{
		{"landscape", input("rgb", shorter, Size{224, 224}), []int{3, 224, 224}, 375, 500, geometry{rh: 256, rw: 341, y0: 16, x0: 58}},
		{"portrait", input("rgb", shorter, Size{224, 224}), []int{3, 224, 224}, 501, 333, geometry{rh: 385, rw: 256, y0: 80, x0: 16}},
		{"square", input("rgb", shorter, Size{224, 224}), []int{3, 224, 224}, 10, 10, geometry{rh: 256, rw: 256, y0: 16, x0: 16}},
		{"odd half goes to even", input("gray", nil, Size{4, 4}), []int{1, 4, 4}, 7, 9, geometry{rh: 7, rw: 9, y0: 2, x0: 2}},
		{"crop larger", input("gray", nil, Size{9, 9}), []int{1, 9, 9}, 4, 9, geometry{rh: 4, rw: 9, y0: -2, x0: 0}},
		{"letterbox", input("rgb", letter, Size{}), []int{3, 64, 64}, 100, 200, geometry{rh: 32, rw: 64, y0: -16, x0: 0, fill: 114}},
		{"stretch", input("rgb", &Resize{Mode: "stretch", Filter: "cv-area"}, Size{}), []int{3, 8, 9}, 100, 200, geometry{rh: 8, rw: 9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := c.card.Prepare(c.shape)
			if err != nil {
				t.Fatal(err)
			}
			if g, err := p.geometry(c.h, c.w); err != nil || g != c.want {
				t.Errorf("got %+v, want %+v (%v)", g, c.want, err)
			}
		})
	}
}

func TestPreprocess(t *testing.T) {
	img := image.NewNRGBA(image.Rect(5, 7, 8, 9)) // bounds that do not begin at 0
	for i := range 6 {
		img.Set(5+i%3, 7+i/3, color.NRGBA{uint8(i), uint8(10 + i), uint8(20 + i), 255})
	}
	run := func(c Card, shape ...int) ([]float32, error) {
		dst := tensor.New(tensor.Float32, shape...)
		err := c.Preprocess(dst, img)
		return tensor.Of[float32](dst), err
	}
	rgb := []float32{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25}
	bgr := append(append(slices.Clone(rgb[12:]), rgb[6:12]...), rgb[:6]...)
	nhwc := []float32{0, 10, 20, 1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24, 5, 15, 25}
	for _, c := range []struct {
		name  string
		card  Card
		shape []int
		want  []float32
	}{
		{"rgb", input("rgb", nil, Size{}), []int{3, 2, 3}, rgb},
		{"batch of one", input("rgb", nil, Size{}), []int{1, 3, 2, 3}, rgb},
		{"bgr", input("bgr", nil, Size{}), []int{3, 2, 3}, bgr},
		{"nhwc by the graph", input("rgb", nil, Size{}), []int{2, 3, 3}, nhwc},
		{"crop pads with zeros", input("rgb", nil, Size{2, 1}), []int{3, 2, 1}, []float32{1, 4, 11, 14, 21, 24}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := run(c.card, c.shape...)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v (%v)", got, c.want, err)
			}
		})
	}
	t.Run("normalised", func(t *testing.T) {
		c := input("rgb", nil, Size{})
		c.Input.Scale, c.Input.Mean, c.Input.Std = 1.0/255, []float64{.485, .456, .406}, []float64{.229, .224, .225}
		got, err := run(c, 3, 2, 3)
		if want := float32((25*(1.0/255) - .406) / .225); err != nil || got[17] != want {
			t.Errorf("got %v, want %v (%v)", got[17], want, err)
		}
	})
	for _, c := range []struct {
		name  string
		card  Card
		shape []int
		err   error
		want  string
	}{
		{"nothing said", Card{}, []int{3, 2, 3}, ErrMissing, "input.color, input.scale, input.mean, input.std"},
		{"no resize", input("rgb", nil, Size{}), []int{3, 4, 4}, ErrMissing, "input.resize"},
		{"no crop", input("rgb", &Resize{Mode: "shorter", Size: Size{4, 4}, Filter: "pil-box"}, Size{}), []int{3, 4, 4}, ErrMissing, "input.crop"},
		{"no filter", input("rgb", &Resize{Mode: "stretch"}, Size{}), []int{3, 4, 4}, ErrMissing, "input.resize.filter"},
		{"channels", input("gray", nil, Size{}), []int{3, 2, 3}, ErrConflict, "gray has 1 channels"},
		{"crop and input", input("rgb", nil, Size{2, 2}), []int{3, 4, 4}, ErrConflict, "input.crop is 2x2"},
		{"size and input", input("rgb", &Resize{Mode: "stretch", Size: Size{5, 5}, Filter: "pil-box"}, Size{}), []int{3, 4, 4}, ErrConflict, "5x5"},
		{"rank", input("rgb", nil, Size{}), []int{1, 1, 3, 2, 3}, ErrConflict, "takes no pictures"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := run(c.card, c.shape...)
			if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestLetterboxFill(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 4, 2))
	for i := range img.Pix {
		img.Pix[i] = 7
	}
	c := input("gray", &Resize{Mode: "letterbox", Filter: "pil-bilinear", Fill: 114}, Size{})
	dst := tensor.New(tensor.Float32, 1, 4, 4)
	if err := c.Preprocess(dst, img); err != nil {
		t.Fatal(err)
	}
	x := tensor.Of[float32](dst)
	if x[0] != 114 || x[3] != 114 || x[4] != 7 || x[11] != 7 || x[12] != 114 {
		t.Error(x)
	}
}

func TestValidate(t *testing.T) {
	c, _ := Preset("imagenet")
	c.Labels = []string{"a", "b"}
	for _, v := range []struct {
		shape   []int
		classes int
		ok      bool
	}{
		{[]int{3, 224, 224}, 2, true}, {[]int{3, 224, 224}, 0, true}, {[]int{3, -1, -1}, 2, true}, {[]int{3, 224, 224}, 1000, false},
		{[]int{1, 224, 224}, 2, false}, {[]int{1, -1, 1}, 2, false}, {[]int{3, 299, 299}, 2, false},
	} {
		if err := c.Validate(v.shape, v.classes); (err == nil) != v.ok || err != nil && !errors.Is(err, ErrConflict) {
			t.Errorf("%v, %d classes: %v", v.shape, v.classes, err)
		}
	}
	if err := (Card{Input: Input{Color: "rgb"}}).Validate([]int{3, 8, 8}, 0); err != nil {
		t.Errorf("what is missing passes: %v", err)
	}
}

// FuzzPixels puts pictures of any size through any geometry.
func FuzzPixels(f *testing.F) {
	f.Add(uint16(7), uint16(9), uint8(3), uint8(4), uint8(0), uint8(0), true)
	f.Add(uint16(1), uint16(300), uint8(30), uint8(1), uint8(1), uint8(8), false)
	f.Fuzz(func(t *testing.T, h, w uint16, oh, ow, mode, filter uint8, crop bool) {
		h, w = h%400+1, w%400+1
		out := Size{int(oh)%50 + 1, int(ow)%50 + 1}
		r := &Resize{Mode: modes[int(mode)%3], Size: out, Filter: Filters()[int(filter)%len(Filters())]}
		if r.Mode == "shorter" {
			r.Size.W = r.Size.H
		}
		c := input("rgb", r, Size{})
		if crop {
			c.Input.Crop = out
		}
		p, err := c.Prepare([]int{3, out.H, out.W})
		if err != nil {
			return
		}
		img := image.NewNRGBA(image.Rect(0, 0, int(w), int(h)))
		if err := p.Pixels(make([]uint8, p.Len()), img); err != nil && !errors.Is(err, ErrMissing) {
			t.Error(err)
		}
	})
}
