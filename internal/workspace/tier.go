package workspace

import "time"

// The tiers. A default workspace has the highest, so that an installation is
// bounded by its plan alone until somebody provisions with care.
const (
	DefaultTier = 2
	MaxTier     = 4
)

// Preset is what a tier allows.
type Preset struct {
	Tier     int64
	Calls    int64         // at the same time
	Deadline time.Duration // of a call, whatever its server says
	Memory   int64         // bytes of a stdio server
	Steps    int64         // of an agent's turn
}

var presets = [...]Preset{
	{1, 8, 30 * time.Second, 256 << 20, 10},
	{2, 32, 2 * time.Minute, 512 << 20, 25},
	{3, 128, 10 * time.Minute, 1 << 30, 50},
	{4, 10_000, time.Hour, 2 << 30, 100}, // as many as an installation accepts connections
}

// Presets lists every tier, the smallest first.
func Presets() []Preset { return append([]Preset(nil), presets[:]...) }

// PresetOf returns what a tier allows.
func PresetOf(tier int64) (Preset, error) {
	if tier < 1 || tier > MaxTier {
		return Preset{}, ErrTier
	}
	return presets[tier-1], nil
}
