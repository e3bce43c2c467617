// Package member is what members of a group print and are given (see ../../member.ts).
package member

import (
	"encoding/json"
	"os"
	"sync"
)

// Event is a line on standard output.
type Event struct {
	Event      string  `json:"event"`
	Partitions []int32 `json:"partitions,omitempty"`
	Partition  int32   `json:"partition"`
	Offset     int64   `json:"offset"`
	Value      string  `json:"value"`
}

// Options are the words of the command line.
type Options struct {
	Bootstrap        string
	Group            string
	Topic            string
	Assignor         string `json:"assignor"`
	InstanceID       string `json:"instanceId"`
	SessionTimeoutMs int    `json:"sessionTimeoutMs"`
}

var mutex sync.Mutex

// Print writes a line.
func Print(event Event) {
	mutex.Lock()
	defer mutex.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(event); err != nil {
		os.Exit(1)
	}
}

// Parse reads BOOTSTRAP GROUP TOPIC OPTIONS.
func Parse(args []string) Options {
	options := Options{Bootstrap: args[1], Group: args[2], Topic: args[3]}
	if err := json.Unmarshal([]byte(args[4]), &options); err != nil {
		panic(err)
	}
	return options
}
