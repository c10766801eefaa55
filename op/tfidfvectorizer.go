package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// TfIdfVectorizer counts the n-grams of pool_int64s in the rows of x [C] or [N,C]:
// those of min_gram_length to max_gram_length numbers that stand 1 to
// max_skip_count+1 places apart. ngram_counts says where the n-grams of 1, 2, ...
// numbers begin in the pool, ngram_indexes where each n-gram's count goes in y
// [max+1] or [N,max+1]. mode TF gives counts, IDF 1 for those found, TFIDF counts, the
// last two times the n-gram's entry of weights.
func init() {
	Register(Op{
		Name: "TfIdfVectorizer",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, indexTypes...); err != nil {
				return nil, err
			}
			g, err := newGrams(n)
			if err != nil {
				return nil, err
			}
			x := n.In[0].Type.Shape
			s := tensor.Shape{g.width}
			if len(x) == 2 {
				s = tensor.Shape{x[0], g.width}
			} else if len(x) > 2 {
				return nil, Errorf(n, "x has shape %v, want a vector or a matrix", x)
			}
			return []tensor.Type{{DType: tensor.Float32, Shape: s}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			g, err := newGrams(n)
			if err != nil {
				return err
			}
			x, y := ints64(in[0]), vals[float32](out[0])
			clear(y)
			rows := len(y) / g.width
			for r := range rows {
				g.count(x[r*len(x)/rows:(r+1)*len(x)/rows], y[r*g.width:])
			}
			mode, weights := n.Str("mode", ""), n.Floats("weights")
			for i, c := range y {
				if mode == "IDF" {
					c = min(c, 1)
				}
				if mode != "TF" && weights != nil {
					c *= g.weight[i%g.width]
				}
				y[i] = c
			}
			return nil
		},
		VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
			return make([]*graph.Value, 1), nil
		},
		Cost: func(n *graph.Node) (macs, bytes int64) {
			x, depth := int64(n.In[0].Type.Shape.NumElements()), n.Int("max_gram_length", 1)
			return x * min(x, n.Int("max_skip_count", 0)+1) * min(x, depth), IOBytes(n)
		},
	})
}

// gram is a node of the tree of n-grams: the numbers that may follow, and the place
// where the n-gram that ends here is counted, -1 for none.
type gram struct {
	next map[int64]*gram
	at   int
}

type grams struct {
	root        *gram
	least, most int64
	skips       int64
	width       int
	weight      []float32 // by place
}

func newGrams(n *graph.Node) (*grams, error) {
	switch m := n.Str("mode", ""); m {
	case "TF", "IDF", "TFIDF":
	default:
		return nil, Errorf(n, "mode %q, want TF, IDF or TFIDF", m)
	}
	if n.Attrs["pool_strings"] != nil {
		return nil, Unsupported(n, "n-grams of strings")
	}
	pool, starts, to := n.Ints("pool_int64s"), n.Ints("ngram_counts"), n.Ints("ngram_indexes")
	g := &grams{root: &gram{at: -1}, least: n.Int("min_gram_length", 1), most: n.Int("max_gram_length", 1), skips: n.Int("max_skip_count", 0)}
	if len(pool) == 0 || len(starts) == 0 || len(to) == 0 || g.least < 1 || g.most < g.least || g.most > int64(len(starts)) || g.skips < 0 {
		return nil, Errorf(n, "a pool of %d, n-grams of %d to %d and up to %d, %d skipped", len(pool), g.least, g.most, len(starts), g.skips)
	}
	w := n.Floats("weights")
	if w != nil && len(w) != len(to) {
		return nil, Errorf(n, "%d weights for %d n-grams", len(w), len(to))
	}
	for _, k := range to {
		if k < 0 || k >= math.MaxInt32 || k > 1<<24+int64(len(to)) {
			return nil, Errorf(n, "ngram_indexes holds %d", k)
		}
		g.width = max(g.width, int(k)+1)
	}
	if w != nil {
		g.weight = make([]float32, g.width)
		for i, k := range to {
			g.weight[k] = w[i]
		}
	}
	id := 0
	for i, from := range starts {
		end, size := int64(len(pool)), int64(i+1)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		if from < 0 || end < from || end > int64(len(pool)) || (end-from)%size != 0 {
			return nil, Errorf(n, "ngram_counts %v of a pool of %d", starts, len(pool))
		}
		for ; from < end; from += size {
			if id >= len(to) {
				return nil, Errorf(n, "the pool has more than %d n-grams", len(to))
			}
			if size >= g.least && size <= g.most {
				p := g.root
				for _, v := range pool[from : from+size] {
					if p.next == nil {
						p.next = map[int64]*gram{}
					}
					q := p.next[v]
					if q == nil {
						q = &gram{at: -1}
						p.next[v] = q
					}
					p = q
				}
				p.at = int(to[id])
			}
			id++
		}
	}
	return g, nil
}

// count adds what is found in x to y.
func (g *grams) count(x []int64, y []float32) {
	least := g.least
	for skip := int64(1); skip <= g.skips+1 && skip <= max(1, int64(len(x))); skip++ {
		for start := range x {
			p := g.root
			for i, size := int64(start), int64(1); i < int64(len(x)) && size <= g.most; i, size = i+skip, size+1 {
				if p = p.next[x[i]]; p == nil {
					break
				}
				if p.at >= 0 && size >= least {
					y[p.at]++
				}
			}
		}
		if least == 1 { // single numbers are the same at every distance
			least = 2
		}
	}
}
