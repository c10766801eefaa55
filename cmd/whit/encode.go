package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"whit/format"
	"whit/internal/safefile"
	"whit/tensor"
)

func encodeCmd() *cobra.Command {
	var (
		level, base string
		threads     int
		asJSON      bool
	)
	c := &cobra.Command{
		Use:   "encode IN.npz OUT",
		Short: "Code the arrays of an .npz file without loss, or what a .whit has that another has not",
		Long: `Code the integer and float arrays of an .npz file without loss: names, shapes and
types are kept. OUT is decoded and compared before it takes its name.

With --base, IN is a .whit file and OUT what it has that the base, another .whit
file, has not: 'whit decode --base' restores IN from both, byte for byte. That is
tried before OUT takes its name.`,
		Example: "  whit encode levels.npz levels.bin\n  whit decode levels.bin back.npz\n" +
			"  whit encode --base old.whit new.whit update.bin\n  whit decode --base old.whit update.bin new.whit",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if same(args[0], args[1]) || base != "" && same(base, args[1]) {
				return usage("%s is an input; give another name for the output", args[1])
			}
			if base != "" {
				if c.Flags().Changed("level") {
					return usage("--level is for arrays, not with --base")
				}
				return encodeDelta(c, base, args[0], args[1], threads, asJSON)
			}
			l, err := format.ParseLevel(level)
			if err != nil {
				return usageError{err}
			}
			r, size, err := openSized(args[0])
			if err != nil {
				return err
			}
			defer r.Close()
			unlock, err := safefile.Lock(args[1])
			if err != nil {
				return err
			}
			defer unlock()
			sizes, err := format.EncodeNPZFile(args[1], r, size, format.ArrayOptions{Level: l, Threads: threads})
			if err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(args[0]), err)
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{"schema": 1, "bytes_before": size, "bytes": sizes.File, "arrays": sizes.Weights})
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %d bytes, from %d\n", args[1], sizes.File, size)
			return nil
		},
	}
	c.Flags().StringVar(&level, "level", "small", "fast or small")
	c.Flags().StringVar(&base, "base", "", "the .whit file that is there already")
	c.Flags().IntVar(&threads, "threads", 0, "workers (0: all)")
	c.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	return c
}

func encodeDelta(c *cobra.Command, base, in, out string, threads int, asJSON bool) error {
	old, err := readWhole(base)
	if err != nil {
		return err
	}
	next, err := readWhole(in)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{base: old, in: next} {
		if !format.IsWhit(b) {
			return fmt.Errorf("%s: not a .whit file; --base is for two .whit files", filepath.Base(name))
		}
	}
	unlock, err := safefile.Lock(out)
	if err != nil {
		return err
	}
	defer unlock()
	delta, err := format.EncodeDelta(old, next, threads)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", filepath.Base(base), filepath.Base(in), err)
	}
	if err := safefile.WriteBytes(out, delta); err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.OutOrStdout(), map[string]any{"schema": 1, "bytes_before": len(next), "bytes": len(delta)})
	}
	fmt.Fprintf(c.OutOrStdout(), "%s: %d bytes, from %d\n", out, len(delta), len(next))
	return nil
}

// readWhole reads a regular file.
func readWhole(path string) ([]byte, error) {
	r, size, err := openSized(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return b, nil
}

func decodeCmd() *cobra.Command {
	var (
		threads int
		base    string
		only    []string
	)
	c := &cobra.Command{
		Use:   "decode IN OUT.npz",
		Short: "Restore what encode has coded",
		Long: `Restore the arrays that encode has coded, or with --base the .whit file that it has
coded given another.

With --only, single arrays, or single tensors of a .whit model, are read and decoded
without the others, and written dense.`,
		Example: "  whit decode levels.bin back.npz\n  whit decode --base old.whit update.bin new.whit\n  whit decode --only fc1.weight model.whit fc1.npz",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if base != "" && len(only) > 0 {
				return usage("--only is not for deltas")
			}
			for i, name := range only {
				if slices.Contains(only[:i], name) {
					return usage("--only %s is given twice", name)
				}
			}
			if same(args[0], args[1]) || base != "" && same(base, args[1]) {
				return usage("%s is an input; give another name for the output", args[1])
			}
			r, size, err := openSized(args[0])
			if err != nil {
				return err
			}
			defer r.Close()
			unlock, err := safefile.Lock(args[1])
			if err != nil {
				return err
			}
			defer unlock()
			opt := format.ReadOptions{Threads: threads}
			write := func(w io.Writer) error { return format.DecodeNPZ(w, r, size, opt) }
			switch {
			case base != "":
				old, err := readWhole(base)
				if err != nil {
					return err
				}
				delta, err := readWhole(args[0])
				if err != nil {
					return err
				}
				next, err := format.DecodeDelta(old, delta, opt)
				if err != nil {
					return fmt.Errorf("%s: %w", filepath.Base(args[0]), err)
				}
				write = func(w io.Writer) error { _, err := w.Write(next); return err }
			case len(only) > 0:
				x, err := format.Open(r, size, opt)
				if err != nil {
					return fmt.Errorf("%s: %w", filepath.Base(args[0]), err)
				}
				write = func(w io.Writer) error {
					var arrays []tensor.Named
					for _, name := range only {
						t, err := x.Tensor(name)
						if err != nil {
							return err
						}
						arrays = append(arrays, tensor.Named{Name: name, T: t})
					}
					return tensor.WriteNPZ(w, arrays)
				}
			}
			if err := safefile.Write(args[1], write); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(args[0]), err)
			}
			fmt.Fprintln(c.OutOrStdout(), args[1])
			return nil
		},
	}
	c.Flags().IntVar(&threads, "threads", 0, "workers (0: all)")
	c.Flags().StringVar(&base, "base", "", "the .whit file that the delta was made with")
	c.Flags().StringArrayVar(&only, "only", nil, "name of a tensor to restore (repeatable; default: all)")
	return c
}
