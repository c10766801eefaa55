package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"whit/internal/cpu"
	"whit/internal/modelfile"
	"whit/internal/tuned"
	"whit/kernel"
	"whit/plan"
	"whit/tensor"
)

const tuneUsage = "measure which kernels are fastest on this machine, once, and use them; results may differ in their last bits"

// tunePlan puts the choices of kernels into o: those that the file holds, or with --tune those that
// were measured on this machine for the binding, which are kept under $WHIT_CACHE.
func tunePlan(ctx context.Context, f *modelfile.File, types map[string]tensor.Type, o plan.Options, tune bool) (plan.Options, error) {
	if !tune {
		if f.Choices == nil {
			return o, nil
		}
		c, err := kernel.ParseChoices(f.Choices)
		if err != nil {
			return o, fmt.Errorf("%s: %w", f.Base, err)
		}
		o.Choices = c
		return o, nil
	}
	hash, err := f.Hash()
	if err != nil {
		return o, err
	}
	k := tuned.Key{Model: hash, CPU: cpu.Detect().String(), Threads: o.Threads, Direct: o.Direct, Version: Version}
	if k.Threads == 0 {
		k.Threads = cpu.PhysicalCores()
	}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		k.Binding += fmt.Sprintf("%q %v;", name, types[name])
	}
	o.Choices, _, err = tuned.Choices(k, func() (*kernel.Choices, error) { return measured(ctx, f, types, o) })
	return o, err
}

// measured are the fastest choices for the binding on this machine.
func measured(ctx context.Context, f *modelfile.File, types map[string]tensor.Type, o plan.Options) (*kernel.Choices, error) {
	c, err := plan.Tune(ctx, f.Graph, types, o, nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%s: %w", f.Base, err)
	}
	return c, err
}
