package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
)

// sampleRate of every sound file here, in Hz: that of G.711.
const sampleRate = 8000

// writeTone writes a wav file with a sine of the given frequency (Hz) and length (seconds), at half of full scale.
func writeTone(path string, frequency float64, seconds int) error {
	samples := make([]int16, seconds*sampleRate)
	for i := range samples {
		samples[i] = int16(16000 * math.Sin(2*math.Pi*frequency*float64(i)/sampleRate))
	}
	size := uint32(2 * len(samples))
	var head []byte
	head = append(head, "RIFF"...)
	head = binary.LittleEndian.AppendUint32(head, 36+size)
	head = append(head, "WAVEfmt "...)
	head = binary.LittleEndian.AppendUint32(head, 16)
	head = binary.LittleEndian.AppendUint16(head, 1) // PCM
	head = binary.LittleEndian.AppendUint16(head, 1) // mono
	head = binary.LittleEndian.AppendUint32(head, sampleRate)
	head = binary.LittleEndian.AppendUint32(head, 2*sampleRate)
	head = binary.LittleEndian.AppendUint16(head, 2)
	head = binary.LittleEndian.AppendUint16(head, 16)
	head = append(head, "data"...)
	head = binary.LittleEndian.AppendUint32(head, size)
	for _, s := range samples {
		head = binary.LittleEndian.AppendUint16(head, uint16(s))
	}
	if err := os.WriteFile(path, head, 0o644); err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	return nil
}

// sound is what a wav file holds, its first channel only.
type sound struct {
	rate    int
	samples []float64 // −1 to 1
}

// readSound reads a wav file of 16-bit PCM. A program that was ended may have left sizes of zero in it: then the data
// runs to the end of the file.
func readSound(path string) (sound, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return sound{}, fmt.Errorf("clients: %w", err)
	}
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return sound{}, fmt.Errorf("clients: %s is no wav file", path)
	}
	var s sound
	channels := 0
	for b = b[12:]; len(b) >= 8; {
		name, size := string(b[:4]), int(binary.LittleEndian.Uint32(b[4:8]))
		b = b[8:]
		if size > len(b) || name == "data" && size == 0 {
			size = len(b)
		}
		switch chunk := b[:size]; {
		case name == "fmt " && size >= 16:
			channels = int(binary.LittleEndian.Uint16(chunk[2:]))
			s.rate = int(binary.LittleEndian.Uint32(chunk[4:]))
			if bits := binary.LittleEndian.Uint16(chunk[14:]); bits != 16 || channels < 1 {
				return sound{}, fmt.Errorf("clients: %s: %d bits and %d channels are not understood", path, bits, channels)
			}
		case name == "data" && channels > 0:
			for i := 0; i+2*channels <= size; i += 2 * channels {
				s.samples = append(s.samples, float64(int16(binary.LittleEndian.Uint16(chunk[i:])))/32768)
			}
		}
		b = b[min(size+size%2, len(b)):]
	}
	if s.rate == 0 || len(s.samples) == 0 {
		return sound{}, fmt.Errorf("clients: %s holds no sound", path)
	}
	return s, nil
}

// errSilence: what was recorded is quieter than anybody could hear.
var errSilence = errors.New("clients: nothing but silence was recorded")

// tone finds the frequency (Hz, to the nearest 5) that carries most of a sound between 200 and 3000 Hz, and which share
// of the sound's power it has. It looks at the loudest second: calls start and end in silence.
func (s sound) tone() (frequency int, share float64, err error) {
	if len(s.samples) < s.rate {
		return 0, 0, fmt.Errorf("clients: only %.2f s of sound were recorded", float64(len(s.samples))/float64(s.rate))
	}
	window, power := s.loudest(s.rate)
	if power < 1e-5 { // −50 dB
		return 0, 0, errSilence
	}
	const parts = 5
	best := 0.0
	for f := 200; f <= 3000; f += 5 {
		// Of a fifth of a second each: where sound was lost on the way, the tone goes on with another phase, and over the
		// whole it would take itself away.
		p := 0.0
		for part := range slices.Chunk(window, len(window)/parts) {
			p += goertzel(part, float64(f)/float64(s.rate)) * float64(len(part)) / float64(len(window))
		}
		if p > best {
			best, frequency = p, f
		}
	}
	return frequency, best / power, nil
}

// loudest returns the stretch of n samples with the most power, and that power (mean square).
func (s sound) loudest(n int) ([]float64, float64) {
	best, at := -1.0, 0
	for from := 0; from+n <= len(s.samples); from += n / 10 {
		sum := 0.0
		for _, x := range s.samples[from : from+n] {
			sum += x * x
		}
		if sum > best {
			best, at = sum, from
		}
	}
	return s.samples[at : at+n], best / float64(n)
}

// goertzel returns the power (mean square) of one frequency, given as a fraction of the sample rate.
func goertzel(samples []float64, frequency float64) float64 {
	c := 2 * math.Cos(2*math.Pi*frequency)
	var s1, s2 float64
	for _, x := range samples {
		s1, s2 = x+c*s1-s2, s1
	}
	n := float64(len(samples))
	return 2 * (s1*s1 + s2*s2 - c*s1*s2) / (n * n)
}
