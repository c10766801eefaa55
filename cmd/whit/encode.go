package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"whit/format"
	"whit/internal/safefile"
)

func encodeCmd() *cobra.Command {
	var (
		level   string
		threads int
		asJSON  bool
	)
	c := &cobra.Command{
		Use:   "encode IN.npz OUT",
		Short: "Code the arrays of an .npz file without loss",
		Long: `Code the integer and float arrays of an .npz file without loss: names, shapes and
types are kept, and what was written is decoded and compared before it takes its name.`,
		Example: "  whit encode levels.npz levels.bin\n  whit decode levels.bin back.npz",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
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
			var sizes format.Sizes
			if err := safefile.Write(args[1], func(w io.Writer) (err error) {
				sizes, err = format.EncodeNPZ(w, r, size, format.ArrayOptions{Level: l, Threads: threads})
				return err
			}); err != nil {
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
	c.Flags().IntVar(&threads, "threads", 0, "workers (0: all)")
	c.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	return c
}

func decodeCmd() *cobra.Command {
	var threads int
	c := &cobra.Command{
		Use:     "decode IN OUT.npz",
		Short:   "Restore the arrays that encode has coded",
		Example: "  whit decode levels.bin back.npz",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
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
			if err := safefile.Write(args[1], func(w io.Writer) error {
				return format.DecodeNPZ(w, r, size, format.ReadOptions{Threads: threads})
			}); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(args[0]), err)
			}
			fmt.Fprintln(c.OutOrStdout(), args[1])
			return nil
		},
	}
	c.Flags().IntVar(&threads, "threads", 0, "workers (0: all)")
	return c
}
