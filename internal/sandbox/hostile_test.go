//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"headgate/internal/sandbox"
)

// hostile are the children of these tests: modes of the test binary.
var hostile = map[string]func(args []string){
	"echo": func([]string) {
		lines := bufio.NewReader(os.Stdin)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Print(line)
		}
	},
	"args": func(args []string) {
		for _, a := range args {
			fmt.Println(a)
		}
	},
	"env": func([]string) {
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
	},
	"read":     readAll,
	"connect":  connectAll,
	"forkbomb": forkBomb,
	"files":    fillDisk,
	"memory": func(args []string) {
		var kept [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
			fmt.Println(len(kept))
			if len(kept) == atoi(args[0]) {
				wait()
			}
		}
	},
	"memories": func(args []string) { // many processes, each of them modest
		for range atoi(args[0]) {
			cmd := exec.Command(os.Args[0], hostileArg, "memory", args[1])
			if err := cmd.Start(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		wait()
	},
	"descriptors": func([]string) {
		n := 0
		for {
			if _, err := os.Open("/dev/null"); err != nil {
				fmt.Println(n)
				return
			}
			n++
		}
	},
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		fmt.Println("ready")
		wait()
	},
	"polite": func([]string) { // ignores the end of its input, not SIGTERM
		got := make(chan os.Signal, 1)
		signal.Notify(got, syscall.SIGTERM)
		fmt.Println("ready")
		<-got
		os.Exit(7)
	},
	"stderr": func(args []string) {
		for i := range atoi(args[0]) {
			fmt.Fprintf(os.Stderr, "line %d %s\n", i, strings.Repeat("x", 200))
		}
		fmt.Println("done")
		wait()
	},
	"gigabyte": func([]string) {
		b := []byte(strings.Repeat("x", 1<<20))
		for range 1 << 10 {
			if _, err := os.Stdout.Write(b); err != nil {
				return
			}
		}
	},
	"deaf": func([]string) {
		fmt.Println("ready")
		wait()
	},
	"fetch":  fetch,
	"server": server,
	"serve": func(args []string) {
		if _, err := net.Listen("tcp", "127.0.0.1:"+args[0]); err != nil {
			panic(err)
		}
		fmt.Println("listening")
		wait()
	},
	"nested": nested,
}

// wait never returns. It sleeps, because without cgo the runtime ends a program
// in which nothing but a channel is waited for.
func wait() {
	for {
		time.Sleep(time.Hour)
	}
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// readAll prints what it could read or list.
func readAll(paths []string) {
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil {
			fmt.Printf("read %s: %q\n", path, text)
		}
		if entries, err := os.ReadDir(path); err == nil {
			fmt.Printf("listed %s: %v\n", path, entries)
		}
	}
}

// connectAll prints what it could connect to; arguments are network and address.
func connectAll(args []string) {
	for i := 0; i < len(args); i += 2 {
		if conn, err := net.DialTimeout(args[i], args[i+1], 500*time.Millisecond); err == nil {
			fmt.Println("connected", args[i], args[i+1])
			conn.Close()
		}
	}
}

// forkBomb starts as many processes as it can, says how many, and stays.
func forkBomb([]string) {
	n := 0
	for ; n < 500; n++ {
		cmd := exec.Command("/bin/sleep", "1000")
		if err := cmd.Start(); err != nil {
			break
		}
	}
	fmt.Println(n)
	wait()
}

// fillDisk writes files of a size, as many as it is told, and says how it went.
func fillDisk(args []string) {
	signal.Ignore(syscall.SIGXFSZ)
	block := make([]byte, 1<<20)
	for i := range atoi(args[1]) {
		f, err := os.Create(filepath.Join(args[2], fmt.Sprint("fill", i)))
		if err != nil {
			fmt.Println(err)
			break
		}
		for range atoi(args[0]) {
			if _, err := f.Write(block); err != nil {
				fmt.Println(err)
				break
			}
		}
		f.Close()
	}
	fmt.Println("done")
	wait()
}

// fetch prints what comes from URLs. An argument "direct" switches the proxy off.
func fetch(args []string) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		if args[0] == "direct" {
			return nil, nil
		}
		return url.Parse(os.Getenv("HTTP_PROXY"))
	}}}
	for _, u := range args[1:] {
		resp, err := client.Get(u)
		if err != nil {
			fmt.Println("refused", u)
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, u, strings.TrimSpace(string(body)))
	}
}

// server is a Headgate in small: it hosts a child that leaves descendants
// behind, says who its init is, and waits to be killed.
func server(args []string) {
	if err := sandbox.Harden(); err != nil {
		panic(err)
	}
	script := fmt.Sprintf("trap '' TERM HUP; setsid sh -c 'trap \"\" TERM HUP; (sleep %s & sleep %s)' & sleep %s & echo ready; wait; sleep %s", args[1], args[1], args[1], args[1])
	p, err := newLauncher(nil).Start(context.Background(), sandbox.Spec{
		Argv: []string{"/bin/sh", "-c", script}, WorkDir: args[0],
	})
	if err != nil {
		panic(err)
	}
	if _, err := p.Receive(); err != nil {
		panic(err)
	}
	fmt.Println(p.PID())
	<-p.Done()
	fmt.Println(p.Exit().Reason)
	wait()
}

// nested tries to host a child of its own, at both levels.
func nested([]string) {
	l := newLauncher(nil)
	report, err := l.Attest(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println(report.Level, report.Down())
	for _, level := range []sandbox.Level{sandbox.Full, sandbox.Basic} {
		_, err := l.Start(context.Background(), sandbox.Spec{Argv: []string{"/bin/true"}, WorkDir: "/private/work", Level: level})
		fmt.Println(err)
	}
}
