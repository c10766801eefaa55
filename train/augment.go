package train

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"whit/op"
)

// augment is what may be done to an image. Amounts are drawn uniformly up to the
// limits, by a counter-based generator of (seed, epoch, sample).
type augment struct {
	shift  float64 // pixels, both ways
	rotate float64 // radians, both ways
	shear  float64 // radians, both ways
	scale  float64 // fraction, up and down
	flip   bool    // horizontally, one time in two
	cutout int     // side of a square that becomes the image's mean, pixels
}

func parseAugment(s string) (augment, error) {
	var a augment
	if s == "" || s == "none" {
		return a, nil
	}
	for _, f := range strings.Split(s, ",") {
		f = strings.TrimSpace(f)
		i := strings.IndexFunc(f, func(r rune) bool { return r < 'a' || r > 'z' })
		name, arg := f, 0.0
		var err error
		if i >= 0 {
			name = f[:i]
			arg, err = strconv.ParseFloat(f[i:], 64)
		}
		limit := map[string]float64{"shift": 64, "rotate": 180, "shear": 60, "scale": 90, "cutout": 256}[name]
		if err != nil || name == "flip" != (i < 0) || name != "flip" && !(arg > 0 && arg <= limit) {
			return a, fmt.Errorf("%w: augment %q, want a list of shiftP, rotateD, shearD, scaleP, cutoutP and flip, such as \"shift2,rotate10\"", ErrOptions, f)
		}
		switch name {
		case "shift":
			a.shift = arg
		case "rotate":
			a.rotate = arg * math.Pi / 180
		case "shear":
			a.shear = arg * math.Pi / 180
		case "scale":
			a.scale = arg / 100
		case "cutout":
			a.cutout = int(arg)
		case "flip":
			a.flip = true
		}
	}
	return a, nil
}

// augmented is what is done to images, and how many versions of each there are; 0: one an epoch.
func (o *Options) augmented() (a augment, views int) {
	a, _ = parseAugment(o.Augment)
	if a.none() {
		return a, 1
	}
	return a, o.Views
}

func (a *augment) none() bool { return *a == augment{} }

// apply changes the image x [C,H,W] in place; tmp holds at least H·W numbers.
// Points outside of the image take the nearest border point's value, so that no
// fill value has to be known.
func (a *augment) apply(x, tmp []float32, c, h, w int, seed, epoch, sample uint64) {
	draw := uint64(0)
	u := func() float64 { // 0..1
		draw++
		return float64(op.Random(seed, epoch, sample<<4|draw)>>11) / (1 << 53)
	}
	both := func(limit float64) float64 { return float64(limit * (2*u() - 1)) }
	dx, dy, rot, shear, scale := both(a.shift), both(a.shift), both(a.rotate), both(a.shear), 1+both(a.scale)
	flip := u() < 0.5 && a.flip
	cx, cy := u(), u()
	hw := h * w
	switch {
	case a.rotate != 0 || a.scale != 0 || a.shear != 0:
		// The output's pixel q shows the input at M⁻¹(q - centre - shift) + centre, with
		// M = scale · rotation · shear.
		sn, cs := sine(rot), cosine(rot)
		tn := sine(shear) / cosine(shear)
		inv := 1 / scale
		m00, m01 := float64(inv*(cs+float64(tn*sn))), float64(inv*(sn-float64(tn*cs)))
		m10, m11 := float64(-inv*sn), float64(inv*cs)
		ox, oy := float64(w-1)/2, float64(h-1)/2
		for k := range c {
			img := x[k*hw : (k+1)*hw]
			copy(tmp, img)
			for py := range h {
				ry := float64(py) - oy - dy
				rx := -ox - dx
				bx := float32(float64(m00*rx) + float64(m01*ry) + ox)
				by := float32(float64(m10*rx) + float64(m11*ry) + oy)
				warpRow(img[py*w:(py+1)*w], tmp[:hw], w, h, bx, by, float32(m00), float32(m10))
			}
		}
	case a.shift != 0:
		sx, sy := int(math.Round(dx)), int(math.Round(dy))
		for k := range c {
			img := x[k*hw : (k+1)*hw]
			copy(tmp, img)
			for py := range h {
				row := tmp[min(max(py-sy, 0), h-1)*w:][:w]
				for px := range w {
					img[py*w+px] = row[min(max(px-sx, 0), w-1)]
				}
			}
		}
	}
	if flip {
		for r := range c * h {
			row := x[r*w : (r+1)*w]
			for i, j := 0, w-1; i < j; i, j = i+1, j-1 {
				row[i], row[j] = row[j], row[i]
			}
		}
	}
	if a.cutout > 0 {
		// The square's centre is anywhere in the image, so that a part may fall outside
		// (T. DeVries, G. W. Taylor: Cutout, 2017).
		x0, y0 := int(cx*float64(w))-a.cutout/2, int(cy*float64(h))-a.cutout/2
		for k := range c {
			img := x[k*hw : (k+1)*hw]
			var sum float64
			for _, v := range img {
				sum += float64(v)
			}
			mean := float32(sum / float64(hw))
			for py := max(0, y0); py < min(h, y0+a.cutout); py++ {
				for px := max(0, x0); px < min(w, x0+a.cutout); px++ {
					img[py*w+px] = mean
				}
			}
		}
	}
}

// warpRow samples src [h,w] bilinearly at (bx + ax·i, by + ay·i) for each i of dst.
func warpRow(dst, src []float32, w, h int, bx, by, ax, ay float32) {
	mx, my := float32(w-1), float32(h-1)
	for i := range dst {
		f := float32(i)
		sx, sy := float32(ax*f)+bx, float32(ay*f)+by
		sx, sy = min(max(sx, 0), mx), min(max(sy, 0), my)
		ix, iy := int(sx), int(sy)
		fx, fy := sx-float32(ix), sy-float32(iy)
		r0 := src[iy*w:]
		r1 := src[min(iy+1, h-1)*w:]
		jx := min(ix+1, w-1)
		t := r0[ix] + float32(fx*(r0[jx]-r0[ix]))
		b := r1[ix] + float32(fx*(r1[jx]-r1[ix]))
		dst[i] = t + float32(fy*(b-t))
	}
}

// Augmented is a dataset of images [C,H,W] as an epoch of training with o.Augment and o.Seed may see them: one version of each.
func Augmented(ds Dataset, o Options) (Dataset, error) {
	if _, err := parseAugment(o.Augment); err != nil {
		return nil, err
	}
	o.Batch = 1
	return augmentedSet{ds, newBatches(ds, &o)}, nil
}

type augmentedSet struct {
	Dataset
	b *batches
}

func (a augmentedSet) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	return a.b.load(ctx, idx, 0, x, y, make([]float32, len(a.b.tmp)))
}
