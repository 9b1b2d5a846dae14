// Package cliplugin is the face of occystrap on a terminal: one tree of
// commands, run by Docker as "docker occystrap …" or alone as "occystrap …".
//
//	arguments, OCCYSTRAP_* ─▶ options ─▶ pipeline/builtin ─▶ pipeline.Run
//	                                                            │
//	standard error ◀─ progress (bars, lines, JSON) ◀─ events ───┘
//
// Each command has a file of its own. What moves and changes images is package
// pipeline; here flags are read, events are shown, and errors become an exit
// code: 0 done, 1 failed, 2 the command line is wrong.
//
// Results go to standard output, all else to standard error.
package cliplugin
