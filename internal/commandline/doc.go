// Package commandline adds to the parser of package kong what a program with many verbs and flags needs: values from a
// YAML file, help under headings, the completion of a shell, and the names that other programs give the same options.
package commandline
