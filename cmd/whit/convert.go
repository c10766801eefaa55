package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"whit/format"
	"whit/internal/modelfile"
	"whit/internal/safefile"
	"whit/plan"
)

func convertCmd() *cobra.Command {
	var (
		cardFlag    string
		level       string
		strip, tune bool
		threads     int
		sh          = shapes{}
	)
	c := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Convert between .onnx and .whit",
		Long: `Convert between .onnx and .whit; the ending of OUT says which. Card, licence and
metadata are kept. An .onnx written from a .whit holds dense weights.

With --tune the kernels that are fastest on this machine are measured, for the shapes and
threads given, and their names put into the .whit: whoever runs the file gets them, as far as
the processor has them. Algorithms whose results differ in the last bits are then the same
everywhere.`,
		Example: "  whit convert model.onnx model.whit\n  whit convert model.whit model.onnx\n  whit convert model.onnx model.whit --level fast --tune",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := modelfile.CheckName(args[1]); err != nil {
				return usageError{err}
			}
			if !strings.EqualFold(filepath.Ext(args[1]), ".whit") {
				for _, name := range []string{"level", "strip", "tune"} {
					if c.Flags().Changed(name) {
						return usage("--%s is for a .whit, and %s is none", name, args[1])
					}
				}
			}
			f, err := modelfile.Load(args[0], cardFlag)
			if err != nil {
				return err
			}
			unlock, err := safefile.Lock(args[1])
			if err != nil {
				return err
			}
			defer unlock()
			opt := format.Options{Strip: strip}
			switch level {
			case "small":
			case "fast":
				opt.Level = format.FastLevel
			case "raw":
				opt.Profile = format.Fast
			default:
				return usage("--level %s: want small, fast or raw", level)
			}
			if tune {
				if err := supported(f); err != nil {
					return err
				}
				types, err := binding(f.Graph, sh)
				if err != nil {
					return err
				}
				k, err := measured(c.Context(), f, types, plan.Options{Threads: threads})
				if err != nil {
					return err
				}
				f.Choices = k.Append(nil)
			}
			n, err := f.Save(args[1], opt)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %d bytes (%s: %d)\n", args[1], n, f.Base, f.Bytes)
			return nil
		},
	}
	c.Flags().BoolVar(&strip, "strip", false, "a .whit without names (but of inputs and outputs), metadata, and of the card all but preprocessing and licence")
	c.Flags().StringVar(&level, "level", "small", "of a .whit: small; fast, larger and decoded many times faster; or raw, which needs no decoding")
	c.Flags().BoolVar(&tune, "tune", false, "measure which kernels are fastest on this machine and put that into the .whit")
	c.Flags().IntVar(&threads, "threads", 0, "workers that --tune measures with (0: physical cores)")
	c.Flags().Var(sh, "shape", "shape of an input that --tune measures with, name=1,3,224,224 (repeatable)")
	c.Flags().StringVar(&cardFlag, "card", "", "model card file to put into the output")
	return c
}
