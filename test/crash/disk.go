package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// diskSize is the size of the file system: room for a few hundred thousand messages.
const diskSize = 512 << 20

// disk is a file system of our own for the data folder: an ext4 in a file. The file holds what the kernel has written to
// "the disk" and nothing that is only in the page cache, so a copy of it is what a power cut leaves.
type disk struct {
	image string
	mount string
	out   bool // not mounted
}

// newDisk makes it and mounts it at a new folder. It needs root and loop devices.
func newDisk(ctx context.Context, dir, mount string) (*disk, error) {
	d := &disk{image: filepath.Join(dir, "disk.img"), mount: mount, out: true}
	if err := os.Mkdir(mount, 0o700); err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	if err := tool(ctx, "mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	return d, d.attach(ctx)
}

func (d *disk) attach(ctx context.Context) error {
	if err := tool(ctx, "mount", "-o", "loop", d.image, d.mount); err != nil {
		return err
	}
	d.out = false
	return nil
}

func (d *disk) detach(ctx context.Context) error {
	if d.out {
		return nil
	}
	if err := tool(ctx, "umount", d.mount); err != nil {
		return err
	}
	d.out = true
	return nil
}

func (d *disk) close() error { return d.detach(context.Background()) }

// snapshot copies what is on the disk now.
func (d *disk) snapshot(ctx context.Context) error {
	return tool(ctx, "cp", "--sparse=always", d.image, d.image+".cut")
}

// revert makes the last snapshot the disk. Nothing may use the file system.
func (d *disk) revert(ctx context.Context) error {
	if err := d.detach(ctx); err != nil {
		return err
	}
	if err := os.Rename(d.image+".cut", d.image); err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	return d.attach(ctx)
}

// fill leaves no room, and returns what gives it back.
func (d *disk) fill() (empty func() error, err error) {
	path := filepath.Join(d.mount, "ballast")
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	empty = func() error { return os.Remove(path) }
	for size := 1 << 20; size > 0; size /= 2 {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, io.ErrShortWrite) {
			return empty, errors.Join(fmt.Errorf("crash: filling the disk: %w", err), f.Close())
		}
	}
	// Without the sync the blocks are only promised, which is as good; closing may report what we wanted.
	_ = f.Close()
	return empty, nil
}

// tool runs a program of the system.
func tool(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("crash: %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
