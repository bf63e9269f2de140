package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// runLimit ends a run that hangs. A run takes three minutes.
const runLimit = 15 * time.Minute

// options are the command line.
type options struct {
	against string
	keep    bool
	only    string
}

func main() {
	var o options
	list := flag.Bool("list", false, "say what is needed and what of it is missing, and do nothing")
	flag.StringVar(&o.against, "against", "", "drive the clients against a running server: udp=HOST:PORT,tcp=…,tls=…,ws=URL,wss=URL,password=…[,ca=FILE]")
	flag.BoolVar(&o.keep, "keep", false, "keep the run's folder with all logs, even if all rows pass")
	flag.StringVar(&o.only, "only", "", "after sign-in, run this part alone: presence, files or page")
	flag.Parse()
	if !slices.Contains([]string{"", "presence", "files", "page"}, o.only) {
		fmt.Fprintf(os.Stderr, "clients: -only %q: presence, files and page are the parts that run alone\n", o.only)
		os.Exit(2)
	}

	root, err := repository()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	lines := missing(root)
	if *list {
		fmt.Printf("Debian 12: apt-get install --no-install-recommends %s\nand: npm ci --prefix test/clients (Node 20 or later)\n", aptPackages)
	}
	for _, line := range lines {
		fmt.Fprintln(os.Stderr, "missing:", line)
	}
	if len(lines) > 0 {
		fmt.Fprintf(os.Stderr, "clients: %d programs are missing; on Debian 12: apt-get install --no-install-recommends %s && npm ci --prefix test/clients\n", len(lines), aptPackages)
		os.Exit(2)
	}
	if *list {
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = runClients(ctx, root, o)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// repository is the folder of go.mod.
func repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if err != nil || root == "." || strings.TrimSpace(string(out)) == os.DevNull {
		return "", fmt.Errorf("clients: run this inside the repository: %w", errors.Join(err, os.ErrNotExist))
	}
	return root, nil
}

// runClients makes one run and prints its table; the error says how many rows failed.
func runClients(ctx context.Context, root string, o options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	l, err := newLab(root)
	if err != nil {
		return err
	}
	defer func() {
		l.close()
		if err != nil || o.keep {
			fmt.Fprintf(os.Stderr, "clients: the logs are in %s\n", l.dir)
			return
		}
		_ = os.RemoveAll(l.dir)
	}()

	var server *target
	var own *parley
	if o.against != "" {
		if server, err = parseTarget(o.against); err != nil {
			return err
		}
	} else {
		if own, err = buildParley(ctx, l); err != nil {
			return err
		}
		server = &own.target
	}
	bin, err := buildNative(ctx, l)
	if err != nil {
		return err
	}
	b, err := startBrowser(ctx, l)
	if err != nil {
		return err
	}
	defer b.stop()
	m, err := newMatrix(l, server, own, bin, b)
	if err != nil {
		return err
	}
	if own != nil {
		own.origin = b.origin
		if err := own.configure("off"); err != nil {
			return err
		}
		for _, c := range m.clients() {
			if err := own.addUser(ctx, c.user()); err != nil {
				return err
			}
		}
		if err := own.serve(ctx); err != nil {
			return err
		}
	}
	start := time.Now()
	err = m.run(ctx, o.only)
	failed := m.report.print(os.Stdout)
	fmt.Printf("%.0f s\n", time.Since(start).Seconds())
	if err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("clients: %d rows failed", failed)
	}
	return nil
}

// parseTarget reads the value of -against.
func parseTarget(text string) (*target, error) {
	t := &target{}
	fields := map[string]*string{"udp": &t.udp, "tcp": &t.tcp, "tls": &t.tls, "ws": &t.ws, "wss": &t.wss, "password": &t.password}
	fields["ca"] = &t.ca
	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(pair, "=")
		field, known := fields[name]
		if !known {
			return nil, fmt.Errorf("clients: -against does not know %q", name)
		}
		*field = value
		delete(fields, name)
	}
	delete(fields, "ca")
	for name := range fields {
		return nil, fmt.Errorf("clients: -against needs %s=", name)
	}
	return t, nil
}
