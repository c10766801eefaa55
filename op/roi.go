package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// Regions of interest of feature maps x [N,C,H,W], made [regions,C,h,w].
func init() {
	// RoiAlign (He et al.: Mask R-CNN, 2017) averages, or with mode "max" takes the
	// maximum of, samples inside of each of output_height by output_width cells of the
	// regions [R,4] (x, y of two corners, times spatial_scale; with
	// coordinate_transformation_mode "half_pixel" minus a half) of images batch_indices
	// [R]: sampling_ratio by sampling_ratio samples, 0: one a pixel. A sample is
	// bilinear and zero outside. As in ONNX's own evaluator, the maximum is that of a
	// sample's four weighted pixels, not of their sum.
	Register(Op{
		Name: "RoiAlign",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 3); err != nil {
				return nil, err
			}
			for i := range 2 {
				if err := floatInput(n, i); err != nil {
					return nil, err
				}
			}
			if err := oneType(n, 0, 1); err != nil {
				return nil, err
			}
			x, r, b := n.In[0].Type, n.In[1].Type.Shape, n.In[2].Type
			if b.DType != tensor.Int64 || len(x.Shape) != 4 || len(r) != 2 || r[1] != 4 || !b.Shape.Equal(r[:1]) {
				return nil, Errorf(n, "x %v, regions %v and batch_indices %v, want [N,C,H,W], [R,4] and int64[R]", x.Shape, r, b)
			}
			switch m := n.Str("mode", "avg"); m {
			case "avg", "max":
			default:
				return nil, Errorf(n, "mode %q, want avg or max", m)
			}
			switch m := n.Str("coordinate_transformation_mode", "half_pixel"); m {
			case "half_pixel", "output_half_pixel":
			default:
				return nil, Errorf(n, "coordinate_transformation_mode %q", m)
			}
			if s := n.Int("sampling_ratio", 0); s < 0 || s > maxSamples {
				return nil, Errorf(n, "sampling_ratio is %d", s)
			}
			return pooledRegions(n, r[0], n.Int("output_height", 1), n.Int("output_width", 1))
		},
		Ref: refRoiAlign,
		Channels: func(*graph.Node) []Coupling {
			return []Coupling{{From: Port{Axis: 1}, To: Port{Out: true, Axis: 1}}}
		},
		Cost: func(n *graph.Node) (macs, bytes int64) {
			s := max(2, n.Int("sampling_ratio", 0))
			return 4 * s * s * int64(n.Out[0].Type.Shape.NumElements()), IOBytes(n)
		},
	})
	// MaxRoiPool (Girshick: Fast R-CNN, 2015, section 2.1) takes the maximum over each
	// of pooled_shape cells of the regions [R,5]: image, x, y of two corners, times
	// spatial_scale and rounded to pixels. A cell without pixels is 0.
	Register(Op{
		Name: "MaxRoiPool",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2, Floats...); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 1); err != nil {
				return nil, err
			}
			x, r, p := n.In[0].Type, n.In[1].Type.Shape, n.Ints("pooled_shape")
			if len(x.Shape) != 4 || len(r) != 2 || r[1] != 5 || len(p) != 2 {
				return nil, Errorf(n, "x %v, regions %v and pooled_shape %v, want [N,C,H,W], [R,5] and two sizes", x.Shape, r, p)
			}
			return pooledRegions(n, r[0], p[0], p[1])
		},
		Ref: refMaxRoiPool,
		Channels: func(*graph.Node) []Coupling {
			return []Coupling{{From: Port{Axis: 1}, To: Port{Out: true, Axis: 1}}}
		},
		Cost: func(n *graph.Node) (macs, bytes int64) {
			x := n.In[0].Type.Shape
			return int64(n.In[1].Type.Shape[0]) * int64(x[1:].NumElements()), IOBytes(n)
		},
	})
}

// maxSamples bounds the samples along one axis of a cell.
const maxSamples = 1 << 12

// pooledRegions is the type of regions of h by w cells.
func pooledRegions(n *graph.Node, regions int, h, w int64) ([]tensor.Type, error) {
	x := n.In[0].Type
	if h < 1 || w < 1 || h > math.MaxInt32 || w > math.MaxInt32 {
		return nil, Errorf(n, "regions of %d by %d cells", h, w)
	}
	if x.Shape[2] < 1 || x.Shape[3] < 1 {
		return nil, Errorf(n, "x %v has no pixels", x.Shape)
	}
	return []tensor.Type{{DType: x.DType, Shape: tensor.Shape{regions, x.Shape[1], int(h), int(w)}}}, nil
}

// sample is a bilinear sample's pixels and weights.
type sample struct {
	at [4]int
	w  [4]float64
}

func refRoiAlign(n *graph.Node, in, out []*tensor.Tensor) error {
	xs, ys := in[0].Shape, out[0].Shape
	x, rois, y := wide(in[0]), wide(in[1]), make([]float64, out[0].Len())
	batch, err := batchIndices(n, ints64(in[2]), xs[0])
	if err != nil {
		return err
	}
	scale, shift := float64(n.Float("spatial_scale", 1)), 0.0
	half, isMax := n.Str("coordinate_transformation_mode", "half_pixel") == "half_pixel", n.Str("mode", "avg") == "max"
	if half {
		shift = 0.5
	}
	hi, wi, ho, wo := xs[2], xs[3], ys[2], ys[3]
	var samples []sample
	for r, img := range batch {
		var edge [4]float64 // x, y, x, y
		for k := range edge {
			if edge[k] = rois[4*r+k]*scale - shift; math.IsNaN(edge[k]) || math.IsInf(edge[k], 0) {
				return Errorf(n, "region %d is not finite", r)
			}
		}
		w, h := edge[2]-edge[0], edge[3]-edge[1]
		if !half {
			w, h = max(w, 1), max(h, 1)
		}
		nh, nw := n.Int("sampling_ratio", 0), n.Int("sampling_ratio", 0)
		if nh == 0 {
			if h/float64(ho) > maxSamples || w/float64(wo) > maxSamples {
				return Errorf(n, "region %d takes more than %d samples a cell", r, maxSamples)
			}
			nh, nw = int64(max(0, math.Ceil(h/float64(ho)))), int64(max(0, math.Ceil(w/float64(wo))))
		}
		for p := range ho * wo {
			cy, cx := edge[1]+float64(p/wo)*h/float64(ho), edge[0]+float64(p%wo)*w/float64(wo)
			samples = samples[:0]
			for iy := range nh {
				for ix := range nw {
					s, ok := bilinear(cy+(float64(iy)+.5)*h/float64(ho)/float64(nh), cx+(float64(ix)+.5)*w/float64(wo)/float64(nw), hi, wi)
					if ok || isMax {
						samples = append(samples, s)
					}
				}
			}
			for c := range xs[1] {
				plane, v := x[(img*xs[1]+c)*hi*wi:][:hi*wi], 0.0
				for k, s := range samples {
					if isMax {
						m := s.w[0] * plane[s.at[0]]
						for j := range 4 {
							m = max(m, s.w[j]*plane[s.at[j]])
						}
						if k == 0 || m > v {
							v = m
						}
						continue
					}
					for j := range 4 {
						v += s.w[j] * plane[s.at[j]]
					}
				}
				if !isMax {
					v /= float64(max(1, nh*nw))
				}
				y[(r*xs[1]+c)*ho*wo+p] = v
			}
		}
	}
	narrow(out[0], y)
	return nil
}

// bilinear is the sample at y, x of a plane of h by w pixels, to whose edge it is
// moved from up to a pixel outside; false, and no weights, farther off.
func bilinear(y, x float64, h, w int) (sample, bool) {
	if y < -1 || y > float64(h) || x < -1 || x > float64(w) {
		return sample{}, false
	}
	axis := func(v float64, d int) (lo, hi int, t float64) {
		v = max(v, 0)
		if lo = int(v); lo >= d-1 {
			return d - 1, d - 1, 0
		}
		return lo, lo + 1, v - float64(lo)
	}
	y0, y1, ty := axis(y, h)
	x0, x1, tx := axis(x, w)
	return sample{[4]int{y0*w + x0, y0*w + x1, y1*w + x0, y1*w + x1},
		[4]float64{(1 - ty) * (1 - tx), (1 - ty) * tx, ty * (1 - tx), ty * tx}}, true
}

// batchIndices are images that exist.
func batchIndices(n *graph.Node, v []int64, images int) ([]int, error) {
	b := make([]int, len(v))
	for i, k := range v {
		if k < 0 || k >= int64(images) {
			return nil, Errorf(n, "region %d is of image %d of %d", i, k, images)
		}
		b[i] = int(k)
	}
	return b, nil
}

func refMaxRoiPool(n *graph.Node, in, out []*tensor.Tensor) error {
	xs, ys := in[0].Shape, out[0].Shape
	x, rois, y := wide(in[0]), wide(in[1]), make([]float64, out[0].Len())
	scale := float64(n.Float("spatial_scale", 1))
	const far = 1 << 30
	for r := range ys[0] {
		v := rois[5*r : 5*r+5]
		if !(v[0] >= 0 && v[0] < float64(xs[0])) {
			return Errorf(n, "region %d is of image %g of %d", r, v[0], xs[0])
		}
		img := int(v[0])
		var edge [4]int
		for k := range edge {
			p := math.Round(v[1+k] * scale)
			if !(math.Abs(p) <= far) {
				return Errorf(n, "region %d is not finite or too far", r)
			}
			edge[k] = int(p)
		}
		// cell is the pixels of cell i of count in the region that begins at from.
		cell := func(from, to, i, count, limit int) (lo, hi int) {
			size := float64(max(to-from+1, 1)) / float64(count)
			lo, hi = int(math.Floor(float64(i)*size))+from, int(math.Ceil(float64(i+1)*size))+from
			return min(max(lo, 0), limit), min(max(hi, 0), limit)
		}
		for ph := range ys[2] {
			h0, h1 := cell(edge[1], edge[3], ph, ys[2], xs[2])
			for pw := range ys[3] {
				w0, w1 := cell(edge[0], edge[2], pw, ys[3], xs[3])
				if h0 >= h1 || w0 >= w1 {
					continue
				}
				for c := range xs[1] {
					plane, m := x[(img*xs[1]+c)*xs[2]*xs[3]:], math.Inf(-1)
					for i := h0; i < h1; i++ {
						for j := w0; j < w1; j++ {
							m = max(m, plane[i*xs[3]+j])
						}
					}
					y[((r*xs[1]+c)*ys[2]+ph)*ys[3]+pw] = m
				}
			}
		}
	}
	narrow(out[0], y)
	return nil
}
