// Command quant compresses named pre-trained networks without labels and without training, and
// compares the written files with the float models.
//
//	go run ./bench/quant [-images DIR] [-classifier MODEL.onnx -data DATA] [-only GLOB] [-recipes GLOB] [-out DIR] [MODEL.onnx ...]
//	go run ./bench/quant [-images DIR] [-classifier MODEL.onnx -data DATA] -bars [-only GLOB]
//
// With -bars it follows one recipe for each figure that quantisation is held to, and says whether it is met.
//
// DIR holds pictures (PNG, JPEG), for example Kodak's. In the order of their names every other one calibrates, the
// rest are measured. demosaicnet-bayer restores them from their mosaics, PSNR is of the output against the picture; the
// other networks read crops of them at their input's size, every second mirrored, and are compared by
// the cosine between the outputs before and after. A classifier is calibrated on 1,024 training images of its data (mnist, or
// what has a training and a test set), drawn with a fixed seed, and compared by its decisions on the test images.
// Models given by file read seeded noise, calibration and measure: for comparing engines on what -out keeps.
// Sizes are those of the file without names; ratios are against 4 bytes a weight.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"whit/card"
	"whit/compress"
	"whit/compress/method"
	"whit/compress/search"
	"whit/data"
	"whit/format"
	"whit/graph"
	"whit/internal/modelfile"
	"whit/onnx"
	"whit/plan"
	"whit/tensor"
	"whit/weight"
	"whit/zoo"
)

// recipes are what is tried, in the order of the table. The names are of layers and nodes of demosaicnet-bayer: its
// last layers work on the picture itself, at full resolution, where an error is one of the picture; they are
// a fortieth of the work.
var recipes = []struct{ name, steps string }{
	{"weights int8", `[{method: round, bits: 8}]`},
	{"weights int7", `[{method: round, bits: 7}]`},
	{"weights int8, adaround", `[{method: round, bits: 8}, {method: adaround, images: 24}]`},
	{"int8", `[{method: activations}]`},
	{"int8, adaround", `[{method: activations, images: 24, adaround: true, skip: "full*,packed,crop,residual_predictor"}]`},
	{"6 bits, nearest", `[{method: round, bits: 6}]`},
	{"6 bits, adaround", `[{method: round, bits: {"full*": 8, "*": 6}}, {method: adaround, images: 24}]`},
	{"5 bits, adaround", `[{method: round, bits: {"full*": 8, "*": 5}}, {method: adaround, images: 24}]`},
	{"4 bits, nearest, a tensor", `[{method: round, bits: 4, granularity: tensor, scale: max}]`},
	{"4 bits, nearest", `[{method: round, bits: 4}]`},
	{"4 bits, corrected", `[{method: round, bits: 4}, {method: correct, images: 24}]`},
	{"4 bits, adaround", `[{method: round, bits: {"full*": 8, "*": 4}}, {method: adaround, images: 24}]`},
	{"4 bits, adaround, more images", `[{method: round, bits: {"full*": 8, "*": 4}}, {method: adaround}]`},
	{"4 bits, adaround, int8", `[{method: activations, bits: {"full*": 8, "*": 4}, images: 24, adaround: true, skip: "full*,packed,crop,residual_predictor"}]`},
	{"3 bits, adaround", `[{method: round, bits: {"full*": 8, "*": 3}}, {method: adaround}]`},
	{"ternary", `[{method: round, levels: ternary}, {method: adaround}]`},
	{"binary", `[{method: round, levels: binary}, {method: correct}]`},
}

// bars are the figures that quantisation without training is held to. What outputs may be off by is a matter of the metric:
// steps are for cosine, psnr for PSNR where they differ.
var bars = []struct {
	name, steps, psnr string
	decides           string  // the steps for a classifier; "": it is left out
	drop, cosine      float64 // at most, in dB; at least
	flips, wrong      float64 // of a classifier: share of its decisions that change at most; or, where it is not 0, by how much fewer are right
	ratio             float64 // of the file, at least; a classifier is held to a tenth of the size only
	bits              float64 // on average over the weights, at most
}{
	{"int8 weights", `[{method: gptq, average: 6.5}, {method: adaround}, {method: shorten}]`,
		`[{method: gptq, bits: 8, images: 48, rows: 16384}, {method: adaround, images: 48}]`,
		`[{method: gptq, bits: 8, images: 1024}, {method: adaround, images: 1024}]`, 0.05, 0.999, 0.001, 0, 5, 8},
	{"int8", `[{method: gptq, average: 7}, {method: shorten}, {method: activations, adaround: true, range: outputs, budget: 0.0012, crossing: 0}]`,
		`[{method: gptq, bits: 8, images: 32, rows: 16384}, {method: activations, adaround: true, budget: 1.1e-5, images: 32}]`,
		`[{method: gptq, bits: 8, images: 1024}, {method: activations, adaround: true, images: 512}]`, 0.2, 0.999, 0.005, 0, 0, 8},
	{"6 bits on average", `[{method: gptq, average: 6}, {method: adaround}]`, "", "", 0.3, 0.999, 0, 0, 0, 6},
	{"4 bits on average", `[{method: gptq, average: 3.6, images: 192}, {method: shorten, bits: 5}, {method: adaround, scales: false, images: 192}, {method: shorten, bits: 6}]`, "",
		`[{method: gptq, average: 3.8}, {method: adaround}, {method: shorten}]`, math.Inf(1), 0.99, 0.03, 0, 10, 4},
	{"pruned, on integers", "", "", `[{method: fold}, {method: obs, sparsity: 0.47, bits: 5, images: 1000}, {method: adaround}, {method: shorten}, {method: activations, adaround: true, images: 512}]`,
		0, 0, 0, 0.005, 10, 8},
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "quant:", err)
		os.Exit(1)
	}
}

var (
	images  = flag.String("images", "", "folder of pictures")
	trained = flag.String("classifier", "", "a trained classifier; none: left out")
	named   = flag.String("data", "", "its data")
	calib   = flag.Int("calib", 1024, "training images that it is calibrated on")
	only    = flag.String("only", "*", "networks, by pattern")
	which   = flag.String("recipes", "*", "recipes, by pattern")
	extra   = flag.String("recipe", "", "steps of one more recipe, as YAML: [{method: ...}, ...]")
	out     = flag.String("out", "", "folder for the files; none: they are not kept")
	judge   = flag.Bool("bars", false, "what quantisation is held to, and whether it is met")
	side    = flag.Int("side", 0, "measure demosaicking on squares of this side in the middle; 0: on whole pictures")
	verbose = flag.Bool("v", false, "say what methods say")
	threads = flag.Int("threads", 0, "workers; 0: the physical cores")
)

func run(ctx context.Context) error {
	flag.Parse()
	var pics []*picture
	var err error
	if *images != "" {
		if pics, err = pictures(*images); err != nil {
			return err
		}
	}
	var nets []*net
	for _, m := range zoo.Models() {
		if pics == nil || !method.Match(*only, m.Name) || m.Name == "dlib-face-u8" || m.Name == "demosaicnet-xtrans" {
			continue
		}
		g, err := m.Load(ctx, "", true)
		if err != nil {
			return err
		}
		n := &net{name: m.Name, g: g}
		if strings.HasPrefix(m.Name, "demosaicnet") {
			n.mosaics(pics)
		} else if err := n.crops(pics, m.Card); err != nil {
			return err
		}
		nets = append(nets, n)
	}
	if *trained != "" {
		n, err := classifier(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", *trained, err)
		}
		nets = append(nets, n)
	}
	for _, f := range flag.Args() {
		g, err := onnx.ReadFile(f)
		if err != nil {
			return err
		}
		n := &net{name: strings.TrimSuffix(filepath.Base(f), ".onnx"), g: g}
		if err := n.noise(8); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		nets = append(nets, n)
	}
	list := recipes
	if *extra != "" {
		list = append(list[:0:0], struct{ name, steps string }{"given", *extra})
		*which = "*"
	}
	for _, n := range nets {
		if err := n.start(ctx); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if *judge {
			if err := n.judge(ctx); err != nil {
				return fmt.Errorf("%s, %w", n.name, err)
			}
			continue
		}
		for _, r := range list {
			if !method.Match(*which, r.name) {
				continue
			}
			if _, err := n.try(ctx, r.name, r.steps); err != nil {
				return fmt.Errorf("%s, %s: %w", n.name, r.name, err)
			}
		}
	}
	return nil
}

// set is samples of one shape.
type set struct {
	shape []int
	x     [][]float32
}

func (s *set) Len() int     { return len(s.x) }
func (s *set) Shape() []int { return s.shape }

// Hash is of no sample in particular: nothing here splits a set.
func (s *set) Hash(i int) [32]byte { return [32]byte{byte(i), byte(i >> 8)} }

// Read writes samples; none has a class.
func (s *set) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	size := tensor.Shape(s.shape).NumElements()
	for k, i := range idx {
		copy(x[k*size:(k+1)*size], s.x[i])
		if y != nil {
			y[k] = -1
		}
	}
	return nil
}

// classifier is the trained network with its own data.
func classifier(ctx context.Context) (*net, error) {
	f, err := modelfile.Load(*trained, "")
	if err != nil {
		return nil, err
	}
	if len(f.Graph.Inputs) != 1 || len(f.Graph.Inputs[0].Decl.Dims) < 2 {
		return nil, fmt.Errorf("%d inputs, want one", len(f.Graph.Inputs))
	}
	sets, err := data.Open(ctx, *named, f.Card, f.Graph.Inputs[0].Decl.Sizes()[1:], data.Options{})
	if err != nil {
		return nil, err
	}
	if sets.Train == nil || sets.Test == nil {
		return nil, fmt.Errorf("data %s have no training and test set of their own", *named)
	}
	n := &net{name: strings.TrimSuffix(filepath.Base(*trained), ".onnx"), g: f.Graph, decides: true}
	order := rand.New(rand.NewPCG(1, 4)).Perm(sets.Train.Len())
	if n.calib, _, err = read(ctx, data.Subset(sets.Train, order[:min(max(1, *calib), len(order))])); err != nil {
		return nil, err
	}
	n.eval, n.label, err = read(ctx, sets.Test)
	return n, err
}

func read(ctx context.Context, d data.Dataset) (*set, []int32, error) {
	s := &set{shape: d.Shape()}
	label := make([]int32, d.Len())
	for i := range label {
		x := make([]float32, tensor.Shape(s.shape).NumElements())
		if err := d.Read(ctx, []int{i}, x, label[i:i+1]); err != nil {
			return nil, nil, err
		}
		s.x = append(s.x, x)
	}
	return s, label, nil
}

// net is a network with its data.
type net struct {
	name        string
	g           *graph.Graph
	calib, eval *set
	truth       []*picture // what eval should become; nil: what the float model makes of it
	decides     bool       // the output is logits
	label       []int32    // what eval shows, of a network that decides
	before      [][]result // by sample, output
	psnr        float64
	dense       int64
}

type result []float32

// picture is an RGB picture, 0..1, [3,H,W].
type picture struct {
	h, w int
	x    []float32
}

func (p *picture) at(c, y, x int) float32 { return p.x[(c*p.h+y)*p.w+x] }

func (p *picture) cut(y0, x0, h, w int) *picture {
	q := &picture{h, w, make([]float32, 0, 3*h*w)}
	for c := range 3 {
		for y := range h {
			at := (c*p.h+y0+y)*p.w + x0
			q.x = append(q.x, p.x[at:at+w]...)
		}
	}
	return q
}

func pictures(dir string) (ps []*picture, err error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range es {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".png", ".jpg", ".jpeg":
		default:
			continue
		}
		m, err := data.DecodeImage(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		b := m.Bounds()
		p := &picture{b.Dy() &^ 1, b.Dx() &^ 1, nil}
		p.x = make([]float32, 3*p.h*p.w)
		for y := range p.h {
			for x := range p.w {
				c := color.NRGBAModel.Convert(m.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
				for k, v := range []uint8{c.R, c.G, c.B} {
					p.x[(k*p.h+y)*p.w+x] = float32(v) / 255
				}
			}
		}
		ps = append(ps, p)
	}
	if len(ps) < 2 {
		return nil, fmt.Errorf("%s: %d pictures, want at least 2", dir, len(ps))
	}
	return ps, nil
}

// mosaics are the pictures as a sensor of the pattern G R / B G sees them.
func (n *net) mosaics(ps []*picture) {
	const patch = 128
	mosaic := func(p *picture) []float32 {
		m := make([]float32, len(p.x))
		for y := range p.h {
			for x := range p.w {
				c := 1
				if y%2 == 0 && x%2 == 1 {
					c = 0
				} else if y%2 == 1 && x%2 == 0 {
					c = 2
				}
				m[(c*p.h+y)*p.w+x] = p.at(c, y, x)
			}
		}
		return m
	}
	r := rand.New(rand.NewPCG(1, 1))
	n.calib = &set{shape: []int{3, patch, patch}}
	n.eval = &set{}
	for i, p := range ps {
		if i%2 == 0 {
			for range 8 {
				q := p.cut(r.IntN((p.h-patch)/2+1)*2, r.IntN((p.w-patch)/2+1)*2, patch, patch)
				n.calib.x = append(n.calib.x, mosaic(q))
			}
			continue
		}
		if *side > 0 {
			p = p.cut((p.h-*side)/2&^1, (p.w-*side)/2&^1, *side, *side)
		}
		n.eval.x = append(n.eval.x, mosaic(p))
		n.truth = append(n.truth, p)
	}
}

// crops are squares of the pictures at the network's input size.
func (n *net) crops(ps []*picture, text string) error {
	c, err := card.Parse([]byte(text), nil)
	if err != nil {
		return err
	}
	size := 96
	if d := n.g.Inputs[0].Decl.Dims; d[2].Size > 0 {
		size = d[2].Size
	} else {
		c.Input.Resize = &card.Resize{Mode: "stretch", Size: card.Size{H: size, W: size}, Filter: "cv-area"}
	}
	prep, err := c.Prepare([]int{3, size, size})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	n.calib, n.eval = &set{shape: prep.Shape()}, &set{shape: prep.Shape()}
	for i, p := range ps {
		for k := range 32 {
			s := min(48+r.IntN(336), p.h, p.w)
			y0, x0 := r.IntN(p.h-s+1), r.IntN(p.w-s+1)
			m := image.NewNRGBA(image.Rect(0, 0, s, s))
			for y := range s {
				for x := range s {
					at := x0 + x
					if k%2 == 1 {
						at = x0 + s - 1 - x
					}
					b := func(c int) uint8 { return uint8(math.Round(float64(p.at(c, y0+y, at)) * 255)) }
					m.SetNRGBA(x, y, color.NRGBA{b(0), b(1), b(2), 255})
				}
			}
			px, x := make([]uint8, prep.Len()), make([]float32, prep.Len())
			if err := prep.Pixels(px, m); err != nil {
				return err
			}
			prep.Floats(x, px)
			if i%2 == 0 {
				n.calib.x = append(n.calib.x, x)
			} else {
				n.eval.x = append(n.eval.x, x)
			}
		}
	}
	return nil
}

// noise is as many seeded samples to calibrate on, and to measure.
func (n *net) noise(samples int) error {
	if len(n.g.Inputs) != 1 {
		return fmt.Errorf("%d inputs, want one", len(n.g.Inputs))
	}
	var shape []int
	for _, d := range n.g.Inputs[0].Decl.Dims[1:] {
		if d.Size < 1 {
			return fmt.Errorf("an input of open size")
		}
		shape = append(shape, d.Size)
	}
	n.g.Inputs[0].Decl.Dims[0].Size = -1
	r := rand.New(rand.NewPCG(1, 3))
	n.calib, n.eval = &set{shape: shape}, &set{shape: shape}
	for i := range 2 * samples {
		x := make([]float32, tensor.Shape(shape).NumElements())
		for k := range x {
			x[k] = float32(r.NormFloat64())
		}
		if i%2 == 0 {
			n.calib.x = append(n.calib.x, x)
		} else {
			n.eval.x = append(n.eval.x, x)
		}
	}
	return nil
}

// outputs runs a model on the samples that are measured.
func (n *net) outputs(ctx context.Context, g *graph.Graph) (all [][]result, ints string, err error) {
	p, err := plan.NewProgram(g, plan.Options{Threads: *threads})
	if err != nil {
		return nil, "", err
	}
	var s *plan.Session
	last := tensor.Shape(nil)
	for i, x := range n.eval.x {
		shape := append(tensor.Shape{1}, n.eval.shape...)
		if n.truth != nil {
			shape = tensor.Shape{1, 3, n.truth[i].h, n.truth[i].w}
		}
		if s == nil || !shape.Equal(last) {
			pl, err := p.Plan(map[string]tensor.Type{g.Inputs[0].Name: {DType: tensor.Float32, Shape: shape}})
			if err != nil {
				return nil, "", err
			}
			ints = integers(pl.Graph())
			if s, err = pl.NewSession(); err != nil {
				return nil, "", err
			}
			last = shape
		}
		copy(tensor.Of[float32](s.Input(g.Inputs[0].Name)), x)
		if err := s.Run(ctx); err != nil {
			return nil, "", err
		}
		var rs []result
		for _, v := range g.Outputs {
			rs = append(rs, slices.Clone(tensor.Of[float32](s.Output(v.Name))))
		}
		all = append(all, rs)
	}
	return all, ints, nil
}

// integers says how many of the products run on integers.
func integers(g *graph.Graph) string {
	ints, all := 0, 0
	for _, n := range g.Nodes {
		list := []*graph.Node{n}
		if b := n.Graph("body"); n.Op == "Fused" && b != nil {
			list = b.Nodes
		}
		for _, n := range list {
			switch n.Op {
			case "QLinearConv", "QLinearConvPRelu":
				ints++
				all++
			case "Conv", "Gemm", "MatMul":
				all++
			}
		}
	}
	return fmt.Sprintf("%d/%d", ints, all)
}

// restored is the mean PSNR of the outputs against the pictures, in dB; outputs lack the
// same number of pixels on every side. They are clipped to 0..1, as a picture is.
func (n *net) restored(all [][]result) float64 {
	sum := 0.0
	for i, rs := range all {
		p := n.truth[i]
		crop := 31
		h, w := p.h-2*crop, p.w-2*crop
		se := 0.0
		for c := range 3 {
			for y := range h {
				for x := range w {
					d := float64(min(max(rs[0][(c*h+y)*w+x], 0), 1)) - float64(p.at(c, y+crop, x+crop))
					se += d * d
				}
			}
		}
		sum += -10 * math.Log10(se/float64(3*h*w))
	}
	return sum / float64(len(all))
}

// cosines are the mean and the least cosine between the outputs of one sample, of the output where
// it is least.
func (n *net) cosines(all [][]result) (mean, least float64) {
	mean, least = 1, 1
	for k := range n.g.Outputs {
		sum := 0.0
		for i := range all {
			var ab, aa, bb float64
			for j, a := range n.before[i][k] {
				b := all[i][k][j]
				ab += float64(a) * float64(b)
				aa += float64(a) * float64(a)
				bb += float64(b) * float64(b)
			}
			c := ab / math.Sqrt(aa*bb)
			sum += c
			least = min(least, c)
		}
		mean = min(mean, sum/float64(len(all)))
	}
	return mean, least
}

func best(x result) int {
	k := 0
	for i, v := range x {
		if v > x[k] {
			k = i
		}
	}
	return k
}

// right is the share of decisions that are the labels'.
func (n *net) right(all [][]result) float64 {
	k := 0
	for i := range all {
		if best(all[i][0]) == int(n.label[i]) {
			k++
		}
	}
	return float64(k) / float64(len(all))
}

// start measures the float model.
func (n *net) start(ctx context.Context) error {
	var err error
	if n.before, _, err = n.outputs(ctx, n.g); err != nil {
		return err
	}
	n.dense = method.DenseBytes(n.g)
	fmt.Printf("\n%s: %d bytes of weights, %d samples to calibrate on, %d measured", n.name, n.dense, n.calib.Len(), len(n.eval.x))
	if n.truth != nil {
		n.psnr = n.restored(n.before)
		fmt.Printf(", %.3f dB", n.psnr)
	}
	if n.decides {
		fmt.Printf(", %.2f%% right", 100*n.right(n.before))
	}
	fmt.Printf("\n%-28s %9s %7s %5s %9s  %s\n", "recipe", "bytes", "ratio", "bits", "integers", "loss")
	return nil
}

// outcome is what a recipe comes to.
type outcome struct{ drop, cosine, flips, wrong, ratio, bits float64 }

// judge holds the network to the bars.
func (n *net) judge(ctx context.Context) error {
	for _, b := range bars {
		steps := b.steps
		switch {
		case n.truth != nil && b.psnr != "":
			steps = b.psnr
		case n.decides:
			steps = b.decides
		}
		if steps == "" || !method.Match(*which, b.name) {
			continue
		}
		o, err := n.try(ctx, b.name, steps)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		say := func(what string, got, want float64, met bool) {
			word := "met"
			if !met {
				word = "MISSED"
			}
			fmt.Printf("    %-20s %9.4f, bar %7.4g  %s\n", what, got, want, word)
		}
		switch {
		case n.decides && b.wrong > 0:
			say("% fewer right", 100*o.wrong, 100*b.wrong, o.wrong <= b.wrong)
		case n.decides:
			say("% flipped", 100*o.flips, 100*b.flips, o.flips <= b.flips)
		case n.truth == nil:
			say("cosine", o.cosine, b.cosine, o.cosine >= b.cosine)
		case !math.IsInf(b.drop, 1):
			say("dB less", o.drop, b.drop, o.drop <= b.drop)
		}
		if b.ratio > 0 && (!n.decides || b.ratio >= 10) {
			say("times smaller", o.ratio, b.ratio, o.ratio >= b.ratio)
		}
		say("bits a weight", o.bits, b.bits, o.bits <= b.bits)
	}
	return nil
}

// bitsOf is how many bits a weight takes uncoded, its scales left out: as many as its levels span.
func bitsOf(w weight.Weight) float64 {
	switch w := w.(type) {
	case weight.Int8:
		lo, hi := int32(0), int32(0)
		for i := range w.Q.Len() {
			lo, hi = min(lo, w.Level(i)), max(hi, w.Level(i))
		}
		if w.Q.DType.IsSigned() {
			hi = max(hi, -lo)
			lo = -hi
		}
		return math.Ceil(math.Log2(float64(hi-lo) + 1))
	case weight.Codebook:
		return math.Ceil(math.Log2(float64(max(2, len(w.Centroids)))))
	}
	return 32
}

// average is the mean of bits over all weights of the layers.
func average(s *method.State) (float64, error) {
	bits, all := 0.0, 0.0
	for _, l := range s.Layers {
		w, err := l.Weight.Weight()
		if err != nil {
			return 0, err
		}
		bits += bitsOf(w) * float64(l.Weight.Len())
		all += float64(l.Weight.Len())
	}
	return bits / max(1, all), nil
}

func (n *net) try(ctx context.Context, name, steps string) (o outcome, err error) {
	began := time.Now()
	r, err := compress.ParseRecipe([]byte("recipe: 1\nsteps: " + steps + "\n"))
	if err != nil {
		return o, err
	}
	g, _ := n.g.Clone()
	s := &method.State{Graph: g, Float: n.g, Layers: method.FindLayers(g, ""), Train: n.calib, Threads: *threads, Metric: n.metric()}
	if *verbose {
		s.Progress = func(e method.Event) { fmt.Println("  ", e.Stage, e.Message) }
	}
	for _, st := range r.Steps {
		if err := s.Step(ctx, st, search.Methods); err != nil {
			return o, err
		}
	}
	f, err := s.Freeze()
	if err != nil {
		return o, err
	}
	took := time.Since(began)
	var b bytes.Buffer
	if _, err := format.Write(&b, &format.File{Graph: f}, format.Options{Strip: true}); err != nil {
		return o, err
	}
	file, err := format.Read(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		return o, err
	}
	if *out != "" {
		base := filepath.Join(*out, n.name+"."+strings.NewReplacer(", ", "_", " ", "-").Replace(name))
		if err := os.WriteFile(base+".whit", b.Bytes(), 0o644); err != nil {
			return o, err
		}
		if err := onnx.WriteFile(base+".onnx", f); err != nil {
			return o, err
		}
	}
	all, ints, err := n.outputs(ctx, file.Graph)
	if err != nil {
		return o, err
	}
	loss := ""
	switch {
	case n.truth != nil:
		p := n.restored(all)
		o.drop = n.psnr - p
		loss = fmt.Sprintf("%.3f dB less (%.3f dB)", n.psnr-p, p)
	case n.decides:
		flips := 0
		for i := range all {
			if best(all[i][0]) != best(n.before[i][0]) {
				flips++
			}
		}
		o.flips, o.wrong = float64(flips)/float64(len(all)), n.right(n.before)-n.right(all)
		loss = fmt.Sprintf("%.2f%% of decisions flipped, %.2f%% right", 100*o.flips, 100*n.right(all))
	default:
		mean, least := n.cosines(all)
		o.cosine = mean
		loss = fmt.Sprintf("cosine %.6f, at least %.5f", mean, least)
	}
	o.ratio = float64(n.dense) / float64(b.Len())
	if o.bits, err = average(s); err != nil {
		return o, err
	}
	fmt.Printf("%-28s %9d %6.2fx %5.2f %9s  %s  [%.1f s]\n", name, b.Len(), o.ratio, o.bits, ints, loss, took.Seconds())
	return o, nil
}

// metric is what the network is compared by.
func (n *net) metric() method.Metric {
	switch {
	case n.truth != nil:
		return method.PSNR
	case n.decides:
		return method.Top1
	}
	return method.Cosine
}
