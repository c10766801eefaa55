package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"whit/format"
	"whit/internal/modelfile"
	"whit/internal/safefile"
)

func convertCmd() *cobra.Command {
	var (
		cardFlag string
		strip    bool
	)
	c := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Convert between .onnx and .whit",
		Long: `Convert between .onnx and .whit; the ending of OUT says which. Card, licence and
metadata are kept. An .onnx written from a .whit holds dense weights.`,
		Example: "  whit convert model.onnx model.whit\n  whit convert model.whit model.onnx",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := modelfile.CheckName(args[1]); err != nil {
				return usageError{err}
			}
			f, err := load(args[0], cardFlag)
			if err != nil {
				return err
			}
			unlock, err := safefile.Lock(args[1])
			if err != nil {
				return err
			}
			defer unlock()
			n, err := modelfile.Save(args[1], f.Graph, f.Card, format.Options{Strip: strip})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %d bytes (%s: %d)\n", args[1], n, f.Base, f.Bytes)
			return nil
		},
	}
	c.Flags().BoolVar(&strip, "strip", false, "a .whit without names (but of inputs and outputs), metadata, and of the card all but preprocessing and licence")
	c.Flags().StringVar(&cardFlag, "card", "", "model card file to put into the output")
	return c
}
