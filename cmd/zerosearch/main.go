// Command zerosearch trains a language model to search, with a second language model as the search engine.
//
//	zerosearch demo                        the whole idea in a minute, offline
//	zerosearch train --model DIR --data FILE --out RUN
//	zerosearch --help
package main

import (
	"io"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/zerosearch-go/zerosearch/internal/commandline"
)

// verbs are the commands, a file each.
type verbs struct {
	Demo     demoCmd     `cmd:"" group:"train" help:"Train a tiny model to search in an invented world: offline, in a minute."`
	Train    trainCmd    `cmd:"" group:"train" help:"Train a policy with reinforcement learning and a simulated search engine."`
	SFT      sftCmd      `cmd:"" group:"train" name:"sft" help:"Fine-tune on examples: a warm start, or a simulator."`
	Simulate simulateCmd `cmd:"" group:"simulator" help:"Write the documents of a simulated search engine, offline."`
	Harvest  harvestCmd  `cmd:"" group:"simulator" help:"Make training rows for a simulated search engine from searches of a real one."`
	Eval     evalCmd     `cmd:"" group:"train" help:"Measure a policy on questions."`
	Verify   verifyCmd   `cmd:"" group:"train" help:"Repeat a step of a run and compare it with what was recorded."`
	Ask      askCmd      `cmd:"" group:"use" help:"Ask a trained policy a question and watch it search."`
	Tokenize tokenizeCmd `cmd:"" group:"use" help:"Convert texts and chats to token ids, and back."`
	Score    scoreCmd    `cmd:"" group:"use" help:"Compute the log-probabilities of given token ids or text."`
	Chat     chatCmd     `cmd:"" group:"use" help:"Talk with a model."`
	Generate generateCmd `cmd:"" group:"use" help:"Continue token ids, texts or chats."`
	Pull     pullCmd     `cmd:"" group:"models" help:"Download a model or a data set from the Hugging Face hub."`
	List     listCmd     `cmd:"" group:"models" help:"List the models and data sets in the Hugging Face cache."`
	Rm       rmCmd       `cmd:"" group:"models" help:"Remove models and data sets from the Hugging Face cache."`
	Inspect  inspectCmd  `cmd:"" group:"models" help:"Show what is in a checkpoint."`
	Devices  devicesCmd  `cmd:"" group:"machine" help:"Show what this machine can compute with."`
	Bench    benchCmd    `cmd:"" group:"machine" help:"Measure this machine: operations, models, training."`
	Serve    serveCmd    `cmd:"" group:"use" help:"Answer OpenAI's HTTP API: a simulator for other programs, or any model."`
	Quantize quantizeCmd `cmd:"" group:"models" help:"Make a q8 or q4 folder of a model: half or a third of its size, for models that are only run."`
	Plan     planCmd     `cmd:"" group:"machine" help:"Add up the memory of a run before it starts."`
	Report   reportCmd   `cmd:"" group:"train" help:"Make one page of a run: curves, tables, episodes."`
	Bundle   bundleCmd   `cmd:"" group:"train" help:"Make one executable of program, recipe, data and models, to train anywhere."`

	Help       helpCmd       `cmd:"" group:"help" help:"Show the help of a verb."`
	Completion completionCmd `cmd:"" group:"help" help:"Print the completion script of a shell: verbs, flags, their values, files."`

	Version versionCmd `cmd:"" group:"help" help:"Print the version, the commit and the compiler."`

	VersionFlag kong.VersionFlag `name:"version" help:"Print the version." env:"-"`
}

func main() {
	debug.SetTraceback("none") // what even recover cannot catch is one line too; GOTRACEBACK=all shows more
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with arguments and streams as parameters; it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	log := newProgress(stderr)
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exitPanic:
			code = int(r)
		default:
			log.line("error: %v", unexpected(r))
			code = exitFailed
		}
	}()
	own, err := carried(args)
	if err != nil {
		log.line("error: %v", err)
		return exitFailed
	}
	if own != nil {
		return runBundle(own, args, stdin, stdout, stderr, log)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parser, err := newParser(stdout, stderr)
	if err != nil {
		log.line("error: building the command line: %v", err)
		return exitFailed
	}
	if len(args) > 0 && args[0] == completeVerb {
		completed.Print(stdout, parser.Model.Node, args[1:])
		return exitDone
	}
	args = scriptNames(commandline.HelpArgs(args))
	file, err := readConfig(parser, args)
	if err == nil {
		var kctx *kong.Context
		if kctx, err = parser.Parse(args); err == nil {
			if file.Note != "" {
				log.line("note: %s", file.Note)
			}
			return start(kctx, stdin, stdout, log)
		}
	}
	err = commandline.Dictionary{Foreign: foreignNames, Short: shortNames}.Recognise(parser, args, err)
	log.line("error: %v: see zerosearch %s--help", oneLine(err.Error()), verbOf(parser, args))
	return exitUsage
}

// newParser reads the verbs' tags and the environment. Help and version leave the parser by a panic that run takes for
// an exit.
func newParser(stdout, stderr io.Writer) (*kong.Kong, error) {
	return parserWith(stdout, stderr, kong.DefaultEnvars("ZEROSEARCH"))
}

func parserWith(stdout, stderr io.Writer, more ...kong.Option) (*kong.Kong, error) {
	more = append(more, commandline.Numbers()...)
	more = append(more, commandline.Help{Program: "zerosearch", Groups: flagGroups, Verbs: verbHelps}.Options()...)
	return kong.New(new(verbs), append(more, kong.Name("zerosearch"),
		kong.Description("Train a language model to search, without a search engine and without Python.\n\n"+
			"Every flag --some-name has an environment variable ZEROSEARCH_SOME_NAME and a key some-name in the YAML "+
			"of --config; the "+
			"command line wins over the environment, and that over the file."),
		kong.ExplicitGroups(verbGroups),
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }),
		kong.NamedMapper("device", kong.MapperFunc(device)),
		kong.Vars{"version": version()}, kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 130}),
		kong.Exit(func(c int) { panic(exitPanic(c)) }))...)
}

// verbOf is the verb in args with a space behind it, or nothing.
func verbOf(parser *kong.Kong, args []string) string {
	for _, n := range parser.Model.Children {
		if len(args) > 0 && n.Name == args[0] {
			return args[0] + " "
		}
	}
	return ""
}
