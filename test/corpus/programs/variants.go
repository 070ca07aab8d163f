// Go: a map that only grows, goroutines and threads that wait for ever, and requests whose garbage the collector takes.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

type session struct {
	id   int
	data []byte
}

var sessions = map[int]*session{}
var last []byte

func main() {
	mode := ""
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	count := 0
	for ; ; time.Sleep(100 * time.Millisecond) {
		switch mode {
		case "map":
			for i := 0; i < 120; i++ {
				// Fresh memory is zero already: only what is written to is there.
				sessions[count] = &session{count, []byte(strings.Repeat("s", 1000))}
				count++
			}
		case "goroutines":
			for i := 0; i < 60; i++ {
				go func() {
					var stack [6000]byte
					stack[len(os.Args)] = 1
					<-make(chan bool)
					last = stack[:1]
				}()
			}
		case "threads":
			// Each holds a thread of the kernel for itself.
			go func() {
				runtime.LockOSThread()
				<-make(chan bool)
			}()
		case "requests":
			for i := 0; i < 200; i++ {
				last = make([]byte, 16<<10)
				last[i] = 1
			}
		default:
			fmt.Fprintln(os.Stderr, "variants.go: unknown mode", mode)
			os.Exit(2)
		}
	}
}
