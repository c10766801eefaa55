package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"whit/card"
	"whit/graph"
	"whit/internal/lean"
	"whit/internal/modelfile"
	"whit/op"
	"whit/tensor"
	"whit/zoo"
)

// Exit codes: done, failed (one line on stderr), wrong use.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is wrong use of the command line: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usage makes a usageError.
func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	lean.Begin()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	out := &checked{w: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	addBuiltins(root)
	err := root.ExecuteContext(ctx)
	if err == nil && out.err != nil {
		err = fmt.Errorf("standard output: %w", out.err)
	}
	var u usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &u), errors.Is(err, card.ErrMissing):
		fmt.Fprintln(stderr, "whit: "+oneLine(err))
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "whit: interrupted")
		return exitFailed
	}
	fmt.Fprintln(stderr, "whit: "+oneLine(err))
	return exitFailed
}

// checked keeps the first error of writing: results that do not reach stdout, on a
// full disk say, are a failure.
type checked struct {
	w   io.Writer
	err error
}

func (c *checked) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}

// maxThreads bounds --threads: more than any machine has.
const maxThreads = 4096

// checkCounts refuses counts that make no sense, whatever the verb.
func checkCounts(c *cobra.Command) error {
	for _, of := range []struct {
		name string
		most int64
	}{{"threads", maxThreads}, {"batch", 1 << 20}, {"iters", 10_000_000}} {
		name, most := of.name, of.most
		f := c.Flags().Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		if n, err := strconv.ParseInt(f.Value.String(), 10, 64); err != nil || n < 0 || n > most {
			return usage("--%s %s: want 0 to %d", name, f.Value, most)
		}
	}
	return nil
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " ") }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "whit",
		Short: "Make a trained vision network a fraction of its size, and run it",
		Long: `whit makes a trained vision network a fraction of its size, shows on your own
images exactly what was lost, and runs it on a CPU.

Nothing leaves the machine. The network is used only to fetch a named dataset or model
once (demo, data pull, model pull, --data mnist), and WHIT_OFFLINE=1 forbids that too.`,
		Example: `  whit demo
  whit check model.onnx
  whit compress model.onnx --data images/ --max-drop 0.5% -o model.whit --report report.html`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		Version:       Version,
	}
	root.SetVersionTemplate("whit {{.Version}}\n")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return checkCounts(c) }
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w; see '%s --help'", err, c.CommandPath())
	})
	for _, c := range verbs() {
		strict(c)
		root.AddCommand(c)
	}
	root.RunE = func(c *cobra.Command, args []string) error { return c.Help() }
	root.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("unknown verb %q; see 'whit --help'", args[0])
		}
		return nil
	}
	return root
}

// addBuiltins adds cobra's own verbs, which write to where root's output goes by then.
func addBuiltins(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args = cobra.NoArgs
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
			strict(c)
		case "help":
			c.Args = func(c *cobra.Command, args []string) error {
				if of, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return usage("help: %s has no verb %q; see '%[1]s --help'", of.CommandPath(), args[len(args)-len(rest)])
				}
				return nil
			}
		}
	}
}

// strict makes wrong counts of arguments wrong use, of c and of the verbs below it.
func strict(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage("%w; see '%s --help'", err, c.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// verbs lists the commands, one file each.
func verbs() []*cobra.Command {
	return []*cobra.Command{
		demoCmd(), trainCmd(), evalCmd(), scanCmd(), compressCmd(), inspectCmd(), checkCmd(), runCmd(), benchCmd(),
		encodeCmd(), decodeCmd(), convertCmd(), modelCmd(zoo.Models()), dataCmd(), versionCmd(),
	}
}

// shapes is the flag --shape name=1,3,224,224, which may be repeated.
type shapes map[string]tensor.Shape

func (s shapes) String() string { return "" }
func (s shapes) Type() string   { return "name=D,D,..." }
func (s shapes) Set(v string) error {
	name, list, ok := strings.Cut(v, "=")
	if !ok {
		return fmt.Errorf("want name=1,3,224,224, found %q", v)
	}
	var sh tensor.Shape
	for _, d := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(d))
		if err != nil || n < 0 {
			return fmt.Errorf("want name=1,3,224,224, found %q", v)
		}
		sh = append(sh, n)
	}
	if err := sh.Check(); err != nil {
		return err
	}
	s[name] = sh
	return nil
}

// binding gives every input of g a type: from --shape, else as declared with a
// symbolic first dimension as 1.
func binding(g *graph.Graph, s shapes) (map[string]tensor.Type, error) {
	types := map[string]tensor.Type{}
	for _, v := range g.Inputs {
		t := tensor.Type{DType: v.Decl.DType, Shape: tensor.Shape{}}
		if sh, ok := s[v.Name]; ok {
			t.Shape = sh
			types[v.Name] = t
			continue
		}
		if !v.Decl.Ranked {
			return nil, usage("input %q has no declared shape; give --shape %s=...", v.Name, v.Name)
		}
		for i, d := range v.Decl.Dims {
			switch {
			case d.Size >= 0:
				t.Shape = append(t.Shape, d.Size)
			case i == 0:
				t.Shape = append(t.Shape, 1)
			default:
				return nil, usage("input %q is %v; give --shape %s=...", v.Name, v.Decl, v.Name)
			}
		}
		types[v.Name] = t
	}
	for name := range s {
		if _, ok := types[name]; !ok {
			return nil, usage("--shape: the model has no input %q", name)
		}
	}
	return types, nil
}

// supported is the error of a model that cannot run, with where to look.
func supported(f *modelfile.File) error {
	if err := op.Check(f.Graph); err != nil {
		return fmt.Errorf("%s: %w; run 'whit check %s' for the full list", f.Base, err, f.Base)
	}
	return nil
}

// printJSON writes v as one line.
func printJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(b))
	return err
}

// number is a number that is null in JSON where it is NaN or infinite, which JSON has not.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}
