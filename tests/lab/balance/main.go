// Balance passes TCP connections on to whichever of several API servers accepts them, as a load balancer before a control
// plane does.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: balance ADDRESS BACKEND...")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "balance:", err)
		os.Exit(1)
	}
}

func serve(address string, backends []string) error {
	// A peer without power sends no end: its connections must not outlive it for long.
	alive := net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3}
	dialer := net.Dialer{Timeout: 500 * time.Millisecond, KeepAliveConfig: alive}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	var turn atomic.Uint64
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		first := turn.Add(1)
		go func() {
			for i := range backends {
				server, err := dialer.Dial("tcp", backends[(first+uint64(i))%uint64(len(backends))])
				if err == nil {
					join(client.(*net.TCPConn), server.(*net.TCPConn))
					return
				}
			}
			client.Close()
		}()
	}
}

// join copies in both directions until both sides have ended, or one has failed.
func join(a, b *net.TCPConn) {
	done := make(chan error, 2)
	pass := func(to, from *net.TCPConn) {
		_, err := io.Copy(to, from)
		if err == nil {
			err = to.CloseWrite()
		}
		done <- err
	}
	go pass(a, b)
	go pass(b, a)
	if <-done == nil {
		<-done
	}
	a.Close()
	b.Close()
}
