package zoo

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"whit/tensor"
)

// Limits of a manifest.
const (
	maxManifest = 1 << 20 // bytes
	maxWeights  = 1 << 30 // bytes of a file of weights
)

// manifestEntry is a tensor of a TensorFlow.js weights manifest, whose data follow
// each other in the shards: float32s, or, where quantised, bytes q that stand for
// scale·q + min.
type manifestEntry struct {
	Name         string `json:"name"`
	Shape        []int  `json:"shape"`
	DType        string `json:"dtype"`
	Quantization *struct {
		DType string  `json:"dtype"`
		Scale float64 `json:"scale"`
		Min   float64 `json:"min"`
	} `json:"quantization"`
}

// readManifest reads the tensors of a manifest of one group from its shards, joined.
func readManifest(manifest, shards []byte) ([]tensor.Named, error) {
	if len(manifest) > maxManifest {
		return nil, fmt.Errorf("%w: a manifest of %d bytes, at most %d expected", ErrCorrupt, len(manifest), maxManifest)
	}
	var groups []struct {
		Weights []manifestEntry `json:"weights"`
	}
	if err := json.Unmarshal(manifest, &groups); err != nil {
		return nil, fmt.Errorf("%w: the manifest: %w", ErrCorrupt, err)
	}
	if len(groups) != 1 {
		return nil, fmt.Errorf("%w: a manifest of %d groups, want 1", ErrCorrupt, len(groups))
	}
	var out []tensor.Named
	for _, w := range groups[0].Weights {
		shape := tensor.Shape(w.Shape)
		if err := shape.Check(); err != nil {
			return nil, fmt.Errorf("%w: tensor %q: %w", ErrCorrupt, w.Name, err)
		}
		if w.DType != "float32" {
			return nil, fmt.Errorf("%w: tensor %q has the type %q, want float32", ErrCorrupt, w.Name, w.DType)
		}
		size, q := 4, w.Quantization
		if q != nil {
			size = 1
			if q.DType != "uint8" || math.IsInf(float64(float32(q.Scale)), 0) || math.IsInf(float64(float32(q.Min)), 0) {
				return nil, fmt.Errorf("%w: tensor %q is quantised as %+v, want finite uint8", ErrCorrupt, w.Name, *q)
			}
		}
		n := shape.NumElements()
		if n > len(shards)/size {
			return nil, fmt.Errorf("%w: tensor %q has %d elements, %d bytes are left", ErrCorrupt, w.Name, n, len(shards))
		}
		t := tensor.New(tensor.Float32, shape...)
		x := tensor.Of[float32](t)
		for i := range x {
			if q != nil {
				x[i] = float32(float64(float64(shards[i])*q.Scale) + q.Min)
			} else {
				x[i] = math.Float32frombits(binary.LittleEndian.Uint32(shards[4*i:]))
			}
		}
		shards = shards[n*size:]
		out = append(out, tensor.Named{Name: w.Name, T: t})
	}
	if len(shards) > 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the last tensor", ErrCorrupt, len(shards))
	}
	return out, nil
}

// readFaceAPI reads the face recognition network of face-api: filters are [H,W,I,O].
func readFaceAPI(manifest, shards []byte) (*given, error) {
	list, err := readManifest(manifest, shards)
	if err != nil {
		return nil, err
	}
	s, err := newGiven(list)
	if err != nil {
		return nil, err
	}
	rename := func(from, to string) {
		if t := s.w[from]; t != nil {
			delete(s.w, from)
			s.w[to] = t
		}
	}
	layer := func(path, name string) {
		rename(path+"/conv/filters", name+".conv.weight")
		rename(path+"/conv/bias", name+".conv.bias")
		rename(path+"/scale/weights", name+".scale.weight")
		rename(path+"/scale/biases", name+".scale.bias")
		if t := s.w[name+".conv.weight"]; t != nil && len(t.Shape) == 4 {
			s.w[name+".conv.weight"] = oihw(t)
		}
	}
	layer("conv32_down", "conv32_down")
	for _, b := range faceBlocks {
		layer(b.name+"/conv1", b.name+".conv1")
		layer(b.name+"/conv2", b.name+".conv2")
	}
	return s, nil
}

// oihw is t [H,W,I,O] as [O,I,H,W].
func oihw(t *tensor.Tensor) *tensor.Tensor {
	h, w, in, out := t.Shape[0], t.Shape[1], t.Shape[2], t.Shape[3]
	y := tensor.New(tensor.Float32, out, in, h, w)
	from, to := tensor.Of[float32](t), tensor.Of[float32](y)
	for p := range h * w {
		for i := range in {
			for o := range out {
				to[(o*in+i)*h*w+p] = from[(p*in+i)*out+o]
			}
		}
	}
	return y
}
