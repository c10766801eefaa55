package method

import (
	"cmp"
	"math"
	"slices"

	"whit/graph"
	"whit/tensor"
)

// heads finds a detector's outputs: the first of two classes [N,2,...], and the first of four offsets beside
// it, [N,4,...]; -1: there is none.
func heads(outs []*tensor.Tensor) (score, box int) {
	score, box = -1, -1
	for i, w := range outs {
		if score < 0 && len(w.Shape) >= 2 && w.Shape[1] == 2 {
			score = i
		}
	}
	for i, w := range outs {
		if score >= 0 && box < 0 && len(w.Shape) == len(outs[score].Shape) && w.Shape[1] == 4 && slices.Equal(w.Shape[2:], outs[score].Shape[2:]) {
			box = i
		}
	}
	return score, box
}

// places is the share of the places where the second class of b wins at which that of a does; NaN where there are none.
func places(a, b []float32) float64 {
	h, c := 0.0, 0.0
	for p := range len(b) / 2 {
		if b[len(b)/2+p] > b[p] {
			c++
			if a[len(b)/2+p] > a[p] {
				h++
			}
		}
	}
	if c == 0 {
		return math.NaN()
	}
	return h / c
}

// detector decodes what a network gives of one sample, as MTCNN's stages give it (K. Zhang, Z. Zhang, Z. Li, Y. Qiao: Joint
// face detection and alignment using multitask cascaded convolutional networks, 2016): two classes and four offsets
// a place, which are those of a window's left, top, right and bottom edges, in its sides. A network of one place has
// the whole picture as its window; else windows lie as those of convolutions without padding do.
type detector struct {
	shape  tensor.Shape // of places: [H,W], or none
	input  []int        // a sample's shape, [C,H,W]
	stride [2]int       // from place to place, in pixels down and across; 0: by the shapes
}

// strides are what a value's places lie apart in the graph's input: the product of strides on the way back.
func strides(v *graph.Value) (s [2]int) {
	s = [2]int{1, 1}
	for v != nil && v.Producer != nil && len(v.Producer.In) > 0 {
		n := v.Producer
		switch n.Op {
		case "Conv", "MaxPool", "AveragePool":
			if x := n.Ints("strides"); len(x) == 2 {
				s[0], s[1] = s[0]*int(min(max(x[0], 1), 1<<15)), s[1]*int(min(max(x[1], 1), 1<<15))
			}
			if s[0] > 1<<15 || s[1] > 1<<15 {
				return [2]int{}
			}
		case "ConvTranspose", "Resize", "Upsample", "Flatten", "Reshape", "Gemm", "MatMul":
			return [2]int{} // not by strides alone
		}
		v = n.In[0]
	}
	return s
}

// box is a detection, with its score: by how much the second class wins.
type box struct{ x0, y0, x1, y1, score float64 }

// mostBoxes bounds the detections of one sample that are compared: the best.
const mostBoxes = 2048

// overlap is how far boxes of one thing overlap at least: their intersection over their union.
const overlap = 0.5

// detections are the boxes of one sample that are left after suppression, best first.
func (d *detector) detections(score, offset []float32) []box {
	h, w := 1, 1
	if len(d.shape) == 2 {
		h, w = d.shape[0], d.shape[1]
	} else if len(d.shape) != 0 {
		h = d.shape.NumElements()
	}
	ih, iw := float64(h), float64(w)
	if n := len(d.input); n >= 2 {
		ih, iw = float64(d.input[n-2]), float64(d.input[n-1])
	}
	window := func(in float64, n, stride int) (apart, size float64) {
		apart = float64(stride)
		if stride == 0 || n == 1 {
			apart = max(1, math.Floor(in/float64(n)))
		}
		return apart, max(1, in-apart*float64(n-1))
	}
	sy, wh := window(ih, h, d.stride[0])
	sx, ww := window(iw, w, d.stride[1])
	n := h * w
	var bs []box
	for p := range n {
		s := float64(score[n+p]) - float64(score[p])
		if !(s > 0) {
			continue
		}
		x, y := sx*float64(p%w), sy*float64(p/w)
		b := box{x + ww*float64(offset[p]), y + wh*float64(offset[n+p]), x + ww + ww*float64(offset[2*n+p]), y + wh + wh*float64(offset[3*n+p]), s}
		if b.x1 > b.x0 && b.y1 > b.y0 {
			bs = append(bs, b)
		}
	}
	slices.SortStableFunc(bs, func(a, b box) int { return cmp.Compare(b.score, a.score) })
	var out []box
	for _, b := range bs[:min(len(bs), mostBoxes)] {
		if !slices.ContainsFunc(out, func(o box) bool { return iou(o, b) >= overlap }) {
			out = append(out, b)
		}
	}
	return out
}

func iou(a, b box) float64 {
	w, h := min(a.x1, b.x1)-max(a.x0, b.x0), min(a.y1, b.y1)-max(a.y0, b.y0)
	if !(w > 0 && h > 0) {
		return 0
	}
	both := w * h
	return both / ((a.x1-a.x0)*(a.y1-a.y0) + (b.x1-b.x0)*(b.y1-b.y0) - both)
}

// recalled is the share of want that a box of got overlaps enough; NaN where there is none.
func recalled(got, want []box) float64 {
	if len(want) == 0 {
		return math.NaN()
	}
	n := 0
	for _, b := range want {
		if slices.ContainsFunc(got, func(o box) bool { return iou(o, b) >= overlap }) {
			n++
		}
	}
	return float64(n) / float64(len(want))
}
