// Command memory shows what memory compressing takes, and that more images do not take more:
//
//	go run ./bench/memory -whit ./whit [-counts 100,1000] [-recipe FILE] [-preprocess CARD] [-limit MIB] [-growth MIB] MODEL.onnx
//
// It draws seeded pictures, follows a recipe with them in a fresh process (by default weights pruned and rounded by obs, which
// holds second moments of every layer's inputs, then integers by activations, which holds ranges; both look at all images of the training
// part) and prints the peak of resident memory and the time. Exit 1 where a peak is above -limit, or the last one above
// the first by more than -growth. Decoded pictures are kept in a cache of a bounded size: what
// they take is counted apart, as the pixels of all pictures.
package main

import (
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const defaultRecipe = `recipe: 1
name: memory
steps:
  - {method: obs, sparsity: 0.5, bits: 8, images: 100000}
  - {method: activations, images: 100000}
`

var (
	whit   = flag.String("whit", "./whit", "the program")
	counts = flag.String("counts", "100,1000", "numbers of pictures")
	recipe = flag.String("recipe", "", "recipe to follow; none: obs and activations on all images")
	prep   = flag.String("preprocess", "imagenet", "the pictures' preset or card")
	side   = flag.Int("side", 224, "side of a picture")
	limit  = flag.Int("limit", 2048, "most MiB that a run may take")
	growth = flag.Int("growth", 64, "most MiB that the last run may take beyond the first, the pixels of its pictures aside")
)

func main() {
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "memory:", err)
		os.Exit(1)
	}
}

func run(model string) error {
	dir, err := os.MkdirTemp("", "whit-memory-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := *recipe
	if file == "" {
		file = filepath.Join(dir, "recipe.yaml")
		if err := os.WriteFile(file, []byte(defaultRecipe), 0o644); err != nil {
			return err
		}
	}
	var first, last float64
	done := 0
	fmt.Printf("%8s %10s %10s %8s\n", "pictures", "peak MiB", "pixels MiB", "seconds")
	for i, c := range strings.Split(*counts, ",") {
		n, err := strconv.Atoi(c)
		if err != nil || n < 10 || n > 1e6 {
			return fmt.Errorf("-counts: want numbers from 10 to a million, found %q", c)
		}
		pics := filepath.Join(dir, "pictures")
		if err := draw(pics, done, n); err != nil {
			return err
		}
		done = n
		began := time.Now()
		cmd := exec.Command(*whit, "compress", model, "--data", pics, "--preprocess", *prep, "--finetune", "off", "--recipe", file, "-o", filepath.Join(dir, "out.whit"), "--json")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		peak := float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024 // kB on Linux
		pixels := float64(n*3**side**side) / (1 << 20)
		fmt.Printf("%8d %10.0f %10.0f %8.0f\n", n, peak, pixels, time.Since(began).Seconds())
		if peak > float64(*limit) {
			return fmt.Errorf("%.0f MiB are more than %d", peak, *limit)
		}
		if last = peak - pixels; i == 0 {
			first = last
		}
	}
	if last > first+float64(*growth) {
		return fmt.Errorf("%.0f MiB more than the first run, pixels aside", last-first)
	}
	return nil
}

// draw adds the pictures from..to: coloured noise with some structure.
func draw(dir string, from, to int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		r := rand.New(rand.NewPCG(uint64(i), 3))
		m := image.NewRGBA(image.Rect(0, 0, *side, *side))
		a, b, c := r.IntN(256), r.IntN(8), r.IntN(8)
		for y := range *side {
			for x := range *side {
				v := a + b*x + c*y + r.IntN(32)
				m.SetRGBA(x, y, color.RGBA{uint8(v), uint8(v / 2), uint8(255 - v), 255})
			}
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%06d.jpg", i)))
		if err != nil {
			return err
		}
		if err := jpeg.Encode(f, m, nil); err != nil {
			f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
