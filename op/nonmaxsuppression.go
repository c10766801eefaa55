package op

import (
	"cmp"
	"math"
	"slices"

	"whit/graph"
	"whit/tensor"
)

// NonMaxSuppression chooses boxes: for every image and class, by falling score (input
// 1, [N,classes,boxes]; equal ones by rising index), those whose intersection over
// union with each box chosen before is not over iou_threshold (input 3, default 0),
// at most max_output_boxes_per_class (input 2, default 0) and only scores over
// score_threshold (input 4, default none). boxes are [N,boxes,4]: two opposite corners
// y, x, y, x, or with center_point_box x, y of the centre, then width and height.
// The result lists image, class and box: int64 [chosen,3].
func init() {
	Register(dynamic(Op{
		Name: "NonMaxSuppression",
		VJP: func(_ *graph.Graph, n *graph.Node, _ []*graph.Value) ([]*graph.Value, error) {
			return make([]*graph.Value, len(n.In)), nil
		},
	}, func(n *graph.Node) error {
		if err := Want(n, 2, 5); err != nil {
			return err
		}
		f32 := []tensor.DType{tensor.Float32}
		for i, allowed := range [][]tensor.DType{f32, f32, {tensor.Int64}, f32, f32} {
			if err := inputType(n, i, allowed); err != nil {
				return err
			}
			if v := n.Input(i); i >= 2 && v != nil && v.Type.Shape.NumElements() != 1 {
				return Errorf(n, "input %d has shape %v, want a scalar", i, v.Type.Shape)
			}
		}
		b, s := n.In[0].Type.Shape, n.In[1].Type.Shape
		if len(b) != 3 || len(s) != 3 || b[2] != 4 || b[0] != s[0] || b[1] != s[2] {
			return Errorf(n, "boxes %v and scores %v, want [N,boxes,4] and [N,classes,boxes]", b, s)
		}
		if c := n.Int("center_point_box", 0); c != 0 && c != 1 {
			return Errorf(n, "center_point_box is %d", c)
		}
		return nil
	}, func(_ *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		arg := func(i int) *tensor.Tensor {
			if i < len(in) {
				return in[i]
			}
			return nil
		}
		most, iou, least := int64(0), float32(0), float32(math.Inf(-1))
		if t := arg(2); t != nil {
			most = vals[int64](t)[0]
		}
		if t := arg(3); t != nil {
			iou = vals[float32](t)[0]
		}
		filter := arg(4) != nil
		if filter {
			least = vals[float32](arg(4))[0]
		}
		images, boxes, classes := in[0].Shape[0], in[0].Shape[1], in[1].Shape[1]
		scores, found := vals[float32](in[1]), []int64{}
		var order []scored
		var chosen []int
		for img := range images {
			rs := rects(vals[float32](in[0])[img*boxes*4:][:boxes*4], n.Int("center_point_box", 0) != 0)
			for c := range classes {
				s := scores[(img*classes+c)*boxes:][:boxes]
				order, chosen = order[:0], chosen[:0]
				for i, v := range s {
					if v > least || !filter {
						order = append(order, scored{v, i})
					}
				}
				slices.SortFunc(order, func(a, b scored) int {
					return cmp.Or(cmp.Compare(b.score, a.score), a.box-b.box)
				})
			next:
				for _, o := range order {
					if int64(len(chosen)) >= most {
						break
					}
					i := o.box
					for _, k := range chosen {
						if rs[i].overlaps(&rs[k], iou) {
							continue next
						}
					}
					chosen = append(chosen, i)
					found = append(found, int64(img), int64(c), int64(i))
				}
			}
		}
		return []*tensor.Tensor{tensor.From(found, len(found)/3, 3)}, nil
	}))
}

// scored is a box and its score. NaN comes last.
type scored struct {
	score float32
	box   int
}

// rect is a box by its least and greatest corner, and its area.
type rect struct{ x0, y0, x1, y1, area float32 }

func rects(b []float32, centre bool) []rect {
	rs := make([]rect, len(b)/4)
	for i := range rs {
		v := b[4*i:]
		if centre {
			w, h := v[2]/2, v[3]/2
			rs[i] = rect{x0: v[0] - w, y0: v[1] - h, x1: v[0] + w, y1: v[1] + h}
		} else {
			rs[i] = rect{x0: min(v[1], v[3]), y0: min(v[0], v[2]), x1: max(v[1], v[3]), y1: max(v[0], v[2])}
		}
		r := &rs[i]
		r.area = (r.x1 - r.x0) * (r.y1 - r.y0)
	}
	return rs
}

// overlaps reports whether the intersection over the union is over limit; every
// product is rounded, so that all CPUs agree.
func (a *rect) overlaps(b *rect, limit float32) bool {
	w, h := min(a.x1, b.x1)-max(a.x0, b.x0), min(a.y1, b.y1)-max(a.y0, b.y0)
	if !(w > 0 && h > 0) {
		return false
	}
	both := float32(w * h)
	union := a.area + b.area - both
	return a.area > 0 && b.area > 0 && union > 0 && both/union > limit
}
