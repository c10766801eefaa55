package data

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"whit/card"
	"whit/tensor"
)

// solid is a picture of one colour.
func solid(w, h int, c color.Color) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.Set(i%w, i/w, c)
	}
	return m
}

func encoded(t testing.TB, ext string, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch ext {
	case ".png":
		err = png.Encode(&b, m)
	case ".jpg":
		err = jpeg.Encode(&b, m, &jpeg.Options{Quality: 100})
	case ".bmp":
		err = bmp.Encode(&b, m)
	case ".tiff":
		err = tiff.Encode(&b, m, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func put(t testing.TB, b []byte, path ...string) {
	t.Helper()
	p := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func rawCard() *card.Card {
	c, _ := card.Preset("raw")
	return &c
}

func TestOpenFolder(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	// Two classes, every encoder that there is, the value tells the file.
	for i, ext := range []string{".png", ".jpg", ".bmp", ".tiff"} {
		put(t, encoded(t, ext, solid(7, 5, color.NRGBA{uint8(10 * i), 100, 200, 255})), dir, "cat", "a"+ext)
	}
	put(t, encoded(t, ".png", solid(4, 4, color.Gray{77})), dir, "dog", "deep", "b.PNG")
	put(t, []byte("no picture"), dir, "dog", "notes.txt")
	put(t, []byte("no picture"), dir, ".hidden", "x.png")
	s, err := Open(ctx, dir, rawCard(), []int{3, 4, 6}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := s.All
	if s.Train != nil || s.Test != nil || d.Len() != 5 || !slices.Equal(d.Labels(), []string{"cat", "dog"}) || !slices.Equal(d.Shape(), []int{3, 4, 6}) {
		t.Fatalf("%+v, %d samples, labels %v, shape %v", s, d.Len(), d.Labels(), d.Shape())
	}
	x, y := make([]float32, 5*72), make([]int32, 5)
	if err := d.Read(ctx, []int{0, 1, 2, 3, 4}, x, y); err != nil {
		t.Fatal(err)
	}
	n, _ := NamedOf(d)
	want := map[string][3]float32{"cat/a.png": {0, 200}, "cat/a.jpg": {10, 200}, "cat/a.bmp": {20, 200}, "cat/a.tiff": {30, 200}, "dog/deep/b.PNG": {77, 77, 1}}
	for i := range 5 {
		w, ok := want[n.Name(i)]
		red, blue := x[i*72], x[i*72+48]
		if !ok || red < w[0]-2 || red > w[0]+2 || blue < w[1]-2 || blue > w[1]+2 || y[i] != int32(w[2]) {
			t.Errorf("%s: red %v, blue %v, class %d, want %v", n.Name(i), red, blue, y[i], w)
		}
		delete(want, n.Name(i))
	}
	if d.Hash(0) == d.Hash(1) {
		t.Error("hashes agree")
	}
	// The same without a cache.
	s, err = Open(ctx, dir, rawCard(), []int{3, 4, 6}, Options{CacheBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	x2 := make([]float32, len(x))
	if err := s.All.Read(ctx, []int{0, 1, 2, 3, 4}, x2, nil); err != nil || !slices.Equal(x, x2) {
		t.Error("without a cache", err)
	}
}

// Names are below the folder, groups the folders between class and picture; parts of sets keep theirs.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	for i, p := range []string{"cat/1.png", "cat/night/2.png", "dog/day/deep/3.png"} {
		put(t, encoded(t, ".png", solid(4, 4, color.Gray{uint8(i)})), dir, filepath.FromSlash(p))
	}
	s, err := Open(context.Background(), dir, rawCard(), []int{3, 4, 4}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, ok := NamedOf(Subset(s.All, []int{2, 0, 1}))
	all, _ := NamedOf(s.All)
	if !ok {
		t.Fatal("no names")
	}
	var got []string
	for i := range 3 {
		got = append(got, n.Name(i)+"|"+n.Group(i))
		if k := []int{2, 0, 1}[i]; n.Name(i) != all.Name(k) {
			t.Errorf("sample %d of the part is %s, want %s", i, n.Name(i), all.Name(k))
		}
	}
	slices.Sort(got)
	if want := "[cat/1.png| cat/night/2.png|night dog/day/deep/3.png|day/deep]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestOpenFolderForms(t *testing.T) {
	ctx := context.Background()
	pic := encoded(t, ".png", solid(3, 3, color.Gray{9}))
	in := []int{3, 3, 3}
	t.Run("train and test", func(t *testing.T) {
		dir := t.TempDir()
		put(t, pic, dir, "train", "1", "a.png")
		put(t, pic, dir, "train", "2", "a.png")
		put(t, pic, dir, "test", "2", "a.png")
		s, err := Open(ctx, dir, rawCard(), in, Options{})
		if err != nil || s.All != nil || s.Train.Len() != 2 || s.Test.Len() != 1 {
			t.Fatal(s, err)
		}
		y := make([]int32, 1)
		if err := s.Test.Read(ctx, []int{0}, make([]float32, 27), y); err != nil || y[0] != 2 {
			t.Error(y, err)
		}
	})
	t.Run("unlabelled", func(t *testing.T) {
		dir := t.TempDir()
		put(t, pic, dir, "a.png")
		s, err := Open(ctx, dir, rawCard(), in, Options{})
		if err != nil || s.All.Labels() != nil {
			t.Fatal(err)
		}
		y := make([]int32, 1)
		if err := s.All.Read(ctx, []int{0}, make([]float32, 27), y); err != nil || y[0] != -1 {
			t.Error(y, err)
		}
	})
	t.Run("mixed", func(t *testing.T) {
		dir := t.TempDir()
		put(t, pic, dir, "a.png")
		put(t, pic, dir, "c", "a.png")
		if _, err := Open(ctx, dir, rawCard(), in, Options{}); !errors.Is(err, ErrLabels) {
			t.Error(err)
		}
	})
	t.Run("no card", func(t *testing.T) {
		dir := t.TempDir()
		put(t, pic, dir, "a.png")
		_, err := Open(ctx, dir, nil, in, Options{})
		if !errors.Is(err, card.ErrMissing) || !strings.Contains(err.Error(), "input.color, input.scale, input.mean, input.std") {
			t.Error(err)
		}
	})
	t.Run("broken", func(t *testing.T) {
		dir := t.TempDir()
		put(t, pic, dir, "c", "a.png")
		put(t, pic[:len(pic)-20], dir, "c", "b.png")
		if _, err := Open(ctx, dir, rawCard(), in, Options{}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "b.png") {
			t.Error(err)
		}
		s, err := Open(ctx, dir, rawCard(), in, Options{SkipBroken: true})
		if err != nil || s.All.Len() != 1 || s.Skipped != 1 {
			t.Error(s, err)
		}
	})
	t.Run("links", func(t *testing.T) {
		dir, out := t.TempDir(), t.TempDir()
		put(t, pic, dir, "c", "a.png")
		put(t, pic, out, "b.png")
		if err := os.Symlink(filepath.Join(dir, "c", "a.png"), filepath.Join(dir, "c", "l.png")); err != nil {
			t.Skip(err)
		}
		os.Symlink(dir, filepath.Join(dir, "c", "loop"))
		s, err := Open(ctx, dir, rawCard(), in, Options{})
		if err != nil || s.All.Len() != 2 {
			t.Fatal(s, err)
		}
		os.Symlink(filepath.Join(out, "b.png"), filepath.Join(dir, "c", "o.png"))
		if _, err := Open(ctx, dir, rawCard(), in, Options{}); err == nil || !strings.Contains(err.Error(), "o.png") {
			t.Error(err)
		}
	})
	t.Run("empty and absent", func(t *testing.T) {
		if _, err := Open(ctx, t.TempDir(), rawCard(), in, Options{}); err == nil {
			t.Error("empty folder")
		}
		if _, err := Open(ctx, "no/such", rawCard(), in, Options{}); err == nil || !strings.Contains(err.Error(), "mnist") {
			t.Error(err)
		}
	})
}

func TestClasses(t *testing.T) {
	for _, c := range []struct {
		name, folders, labels string
		classes               int
		want                  []int32
		labelCount            int
	}{
		{"by label", "bird cat", "cat dog bird", 3, []int32{2, 0}, 3},
		{"by label, spelling", "Tabby_cat bird", "tabby cat,bird", 0, []int32{0, 1}, 2},
		{"integers", "10 2", "", 0, []int32{10, 2}, 11},
		{"integers under labels", "0 1", "a b c", 3, []int32{0, 1}, 3},
		{"integers are labels", "3 5", "5 4 3", 3, []int32{2, 0}, 3},
		{"sorted", "n01 n02", "tench goldfish", 2, []int32{0, 1}, 2},
		{"sorted, nothing known", "x y z", "", 0, []int32{0, 1, 2}, 3},
		{"count differs", "n01 n02 n03", "tench goldfish", 2, nil, 0},
		{"integer too large", "0 9", "", 5, nil, 0},
		{"twice", "01 1 2", "", 5, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			sep := " "
			if strings.Contains(c.labels, ",") {
				sep = ","
			}
			var labels []string
			if c.labels != "" {
				labels = strings.Split(c.labels, sep)
			}
			got, out, err := Classes(strings.Fields(c.folders), labels, c.classes)
			if c.want == nil {
				if !errors.Is(err, ErrLabels) {
					t.Error(got, err)
				}
				return
			}
			if err != nil || !slices.Equal(got, c.want) || len(out) != c.labelCount {
				t.Error(got, out, err)
			}
		})
	}
	_, _, err := Classes([]string{"a", "b"}, []string{"x", "y", "z"}, 3)
	if err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), `"z"`) {
		t.Errorf("%v does not show both lists", err)
	}
}

// hugePNG is a small file that declares w x h pixels.
func hugePNG(t testing.TB, w, h uint32) []byte {
	b := encoded(t, ".png", solid(1, 1, color.Black))
	binary.BigEndian.PutUint32(b[16:], w)
	binary.BigEndian.PutUint32(b[20:], h)
	binary.BigEndian.PutUint32(b[29:], crc(b[12:29]))
	return b
}

func crc(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c ^= uint32(x)
		for range 8 {
			c = c>>1 ^ 0xedb88320&-(c&1)
		}
	}
	return ^c
}

func TestDecodeLimits(t *testing.T) {
	if _, err := Decode(hugePNG(t, 1<<20, 1<<20), 0); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, err := Decode(hugePNG(t, 100, 100), 9999); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, err := Decode([]byte("GIF89a"), 0); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// exifJPEG puts an orientation into a JPEG.
func exifJPEG(b []byte, o byte) []byte {
	tiff := []byte{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, o, 0, 0, 0, 0, 0, 0}
	seg := append([]byte{0xff, 0xe1, 0, byte(8 + len(tiff)), 'E', 'x', 'i', 'f', 0, 0}, tiff...)
	return append(append([]byte{0xff, 0xd8}, seg...), b[2:]...)
}

func TestOrientation(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 16, 8))
	for i := range m.Pix {
		if i%16 < 8 {
			m.Pix[i] = 255 // the left half is white
		}
	}
	b := exifJPEG(encoded(t, ".jpg", m), 6) // to be turned clockwise: white comes on top
	p, err := Decode(b, 0)
	if err != nil || p.Orientation != 6 {
		t.Fatal(p, err)
	}
	for _, orient := range []string{"ignore", "exif"} {
		c := card.Card{Input: card.Input{Color: "gray", Orient: orient, Scale: 1, Mean: []float64{0}, Std: []float64{1},
			Resize: &card.Resize{Mode: "stretch", Filter: "pil-bilinear"}}}
		dst := tensor.New(tensor.Float32, 1, 8, 8)
		if err := c.Preprocess(dst, p); err != nil {
			t.Fatal(err)
		}
		x := tensor.Of[float32](dst)
		left, top := x[4*8] > 200 && x[4*8+7] < 50, x[3] > 200 && x[7*8+3] < 50
		if orient == "exif" && !top || orient == "ignore" && !left {
			t.Errorf("%s: %v", orient, x)
		}
	}
}

func TestOpenNPZ(t *testing.T) {
	ctx := context.Background()
	name := filepath.Join(t.TempDir(), "d.npz")
	write := func(a ...tensor.Named) {
		var b bytes.Buffer
		if err := tensor.WriteNPZ(&b, a); err != nil {
			t.Fatal(err)
		}
		put(t, b.Bytes(), name)
	}
	x := tensor.From([]uint8{1, 2, 3, 4, 5, 6}, 3, 2)
	write(tensor.Named{Name: "x", T: x}, tensor.Named{Name: "y", T: tensor.Ints(0, 4, 1)})
	s, err := Open(ctx, name, nil, []int{2}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, y := make([]float32, 4), make([]int32, 2)
	if err := s.All.Read(ctx, []int{2, 0}, got, y); err != nil || !slices.Equal(got, []float32{5, 6, 1, 2}) || y[0] != 1 {
		t.Error(got, y, err)
	}
	if len(s.All.Labels()) != 5 {
		t.Error(s.All.Labels())
	}
	if _, err := Open(ctx, name, nil, []int{3}, Options{}); err == nil {
		t.Error("a shape that does not fit")
	}
	if _, err := Open(ctx, name, nil, []int{2}, Options{Classes: 4}); !errors.Is(err, ErrLabels) {
		t.Error(err)
	}
	write(tensor.Named{Name: "x_train", T: x}, tensor.Named{Name: "x_test", T: x})
	if s, err = Open(ctx, name, nil, []int{1, 2, 0}, Options{}); err != nil || s.Train.Len() != 3 || !slices.Equal(s.Test.Shape(), []int{1, 2, 1}) {
		t.Error(s, err)
	}
	many, class := make([]uint8, 200), make([]int64, 100)
	for i := range class {
		many[2*i], class[i] = uint8(i), int64(i/10)
	}
	write(tensor.Named{Name: "x", T: tensor.From(many, 100, 2)}, tensor.Named{Name: "y", T: tensor.Ints(class...)})
	if s, err = Open(ctx, name, nil, []int{2}, Options{}); err != nil {
		t.Fatal(err)
	}
	first, classes := make([]float32, 20), make([]int32, 10)
	if err := s.All.Read(ctx, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, first, classes); err != nil {
		t.Fatal(err)
	}
	names, _ := NamedOf(s.All)
	seen := map[int32]bool{}
	for i, y := range classes {
		seen[y] = true
		if at := strconv.Itoa(int(first[2*i])); int32(first[2*i])/10 != y || names.Name(i) != at {
			t.Error("a sample lost its class or its name", i, first[2*i], y, names.Name(i))
		}
	}
	if len(seen) < 4 {
		t.Error("sorted by class, the first ten samples are of", seen)
	}
	write(tensor.Named{Name: "z", T: x})
	if _, err := Open(ctx, name, nil, nil, Options{}); err == nil || !strings.Contains(err.Error(), `"z"`) {
		t.Error(err)
	}
}

func TestWriteImages(t *testing.T) {
	ctx := context.Background()
	train, _, err := MNIST(ctx, fakeMNIST(t, false))
	if err != nil {
		t.Fatal(err)
	}
	held := Subset(train, []int{3, 4, 5, 13, 14, 15, 16})
	dir := t.TempDir()
	idx, err := WriteImages(ctx, dir, held, 6)
	if err != nil || len(idx) != 6 {
		t.Fatal(idx, err)
	}
	c := MNISTCard()
	s, err := Open(ctx, dir, &c, []int{1, 28, 28}, Options{})
	if err != nil || s.All.Len() != 6 {
		t.Fatal(s, err)
	}
	a, b := make([]float32, 6*784), make([]float32, 6*784)
	ya, yb := make([]int32, 6), make([]int32, 6)
	all := []int{0, 1, 2, 3, 4, 5}
	if err := s.All.Read(ctx, all, b, yb); err != nil {
		t.Fatal(err)
	}
	if err := held.Read(ctx, idx, a, ya); err != nil {
		t.Fatal(err)
	}
	sorted := func(x []float32, y []int32) (out []string) {
		for i, c := range y {
			out = append(out, fmt.Sprint(c, x[784*i:784*i+784]))
		}
		slices.Sort(out)
		return out
	}
	if !slices.Equal(sorted(a, ya), sorted(b, yb)) {
		t.Error("what was written reads back otherwise", ya, yb)
	}
}

func TestBatches(t *testing.T) {
	ctx := context.Background()
	train, _, err := MNIST(ctx, fakeMNIST(t, false))
	if err != nil {
		t.Fatal(err)
	}
	order := []int{5, 3, 19, 0, 1, 2, 4, 6, 7, 8, 9}
	for _, o := range []BatchOptions{{Size: 3}, {Size: 3, Ahead: 1, Workers: 5}, {Size: 3, Drop: true}, {Size: 100}} {
		r := NewBatches(ctx, train, order, o)
		var got []int
		for {
			b, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for k, i := range b.Index {
				if b.Y[k] != int32(i%10) || len(b.X) != len(b.Index)*784 {
					t.Errorf("sample %d has class %d", i, b.Y[k])
				}
			}
			got = append(got, b.Index...)
			b.Release()
		}
		r.Close()
		want := order
		if o.Drop {
			want = order[:9]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: got %v", o, got)
		}
	}
	r := NewBatches(ctx, train, []int{1, 99}, BatchOptions{Size: 1})
	b, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	if _, err := r.Next(); err == nil {
		t.Error("a sample outside of the data")
	}
	r.Close()
}

func TestCheck(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	// Class 1 is red, class 0 blue; the model looks at the sign of the first channel
	// less the last, numbers classes from 1, and wants values around zero.
	put(t, encoded(t, ".png", solid(4, 4, color.NRGBA{B: 255, A: 255})), dir, "0", "a.png")
	put(t, encoded(t, ".png", solid(4, 4, color.NRGBA{R: 255, A: 255})), dir, "1", "a.png")
	predict := func(_ context.Context, x []float32, n int) ([]int32, error) {
		y := make([]int32, n)
		for i := range y {
			s := x[i*48 : (i+1)*48]
			y[i] = 1
			if s[0] > s[47] && s[0] == 1 && s[47] == -1 {
				y[i] = 2
			}
			if s[47] != 1 && s[47] != -1 {
				y[i] = 7
			}
		}
		return y, nil
	}
	rows, err := Check(ctx, dir, []int{3, 4, 4}, predict, CheckOptions{Classes: 8})
	if err != nil {
		t.Fatal(err)
	}
	best := rows[0]
	if best.Preset != "symmetric" || best.Color != "rgb" || best.Offset != 1 || best.Right != 1 || best.N != 2 {
		t.Errorf("%+v", best)
	}
	if len(rows) != 4*2*3 {
		t.Errorf("%d rows", len(rows))
	}
}

func FuzzDecode(f *testing.F) {
	for _, ext := range []string{".png", ".jpg", ".bmp", ".tiff"} {
		f.Add(encoded(f, ext, solid(3, 2, color.Gray{5})))
	}
	f.Add(exifJPEG(encoded(f, ".jpg", solid(3, 2, color.Gray{5})), 3))
	f.Add(hugePNG(f, 1<<30, 1<<30))
	for _, c := range small {
		b, _ := base64.StdEncoding.DecodeString(c.b64)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b, 1<<16)
		if err != nil {
			return
		}
		if s := p.Bounds().Size(); s.X*s.Y > 1<<16 {
			t.Errorf("decoded %v pixels", s)
		}
		c := rawCard()
		dst := tensor.New(tensor.Float32, 3, 4, 4)
		if err := c.Preprocess(dst, p); err != nil {
			t.Error(err)
		}
	})
}

// The first so many samples of a folder are of all its classes, in an order that does not hang on where the folder is.
func TestFolderIsMixed(t *testing.T) {
	const classes, each = 8, 20
	var orders []string
	for range 2 {
		dir := t.TempDir()
		for c := range classes {
			for i := range each {
				put(t, encoded(t, ".png", solid(4, 4, color.Gray{uint8(c*each + i)})), dir, fmt.Sprint("class", c), fmt.Sprint(i, ".png"))
			}
		}
		s, err := Open(context.Background(), dir, rawCard(), []int{3, 4, 4}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		y, err := ClassesOf(context.Background(), s.All)
		if err != nil {
			t.Fatal(err)
		}
		for k := classes * 4; k <= len(y); k += classes * 4 {
			count := make([]int, classes)
			for _, c := range y[:k] {
				count[c]++
			}
			if low, high := slices.Min(count), slices.Max(count); low < k/classes/4 || high > k/classes*3 {
				t.Errorf("of the first %d samples, by class: %v", k, count)
			}
		}
		orders = append(orders, fmt.Sprint(y))
	}
	if orders[0] != orders[1] {
		t.Error("the same pictures in another folder come in another order")
	}
}
