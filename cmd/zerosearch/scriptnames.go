package main

import (
	"cmp"
	"slices"
	"strings"
)

// scriptNames turns the NAME VALUE pairs of ZeroSearch's shell scripts, after the verb train, into flags.
func scriptNames(args []string) []string {
	if len(args) == 0 || args[0] != "train" {
		return args
	}
	flags := map[string]string{"MODEL_PATH": "--model", "DATA_PATH": "--data", "TOTAL_STEPS": "--total-steps",
		"SEARCH_MODE":    "--search-mode",
		"SIMULATION_LLM": "--simulation-llm", "START_THRESHOLD": "--start-threshold",
		"END_THRESHOLD": "--end-threshold",
		"SEARCH_ENGINE": "--search-engine", "MAX_TURNS": "--max-turns", "TOPK": "--topk", "IP": "--ip",
		"PORT":              "--port",
		"NUM_GPUS_PER_NODE": "--num-gpus-per-node"}
	out := []string{"train"}
	given := map[string]string{}
	for i := 1; i < len(args); i++ {
		if f, ok := flags[args[i]]; ok && i+1 < len(args) {
			out = append(out, f+"="+args[i+1])
			given[args[i]] = args[i+1]
			i++
			continue
		}
		out = append(out, args[i])
	}
	if given["IP"] != "" &&
		slices.ContainsFunc(out, func(a string) bool {
			return a == "remote" ||
				strings.HasPrefix(a, "--search-mode=remote")
		}) {
		var urls []string
		for host := range strings.SplitSeq(given["IP"], ",") {
			urls = append(urls, "http://"+strings.TrimSpace(host)+":"+cmp.Or(given["PORT"], "6001"))
		}
		out = append(out, "--remote-url="+strings.Join(urls, ","))
	}
	return out
}
