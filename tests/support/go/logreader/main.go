// Reads a log as C2SP tlog-tiles with golang.org/x/mod/sumdb alone, and checks everything that can be.
//
//	logreader FOLDER VKEY
//
// FOLDER holds checkpoint, tile/... and proofs.json: inclusion proofs, and consistency proofs with the roots
// of the earlier trees. It prints what it checked, or what is wrong and exits with 1.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type proofs struct {
	Inclusion []struct {
		Index  int64
		Hashes tlog.RecordProof
	}
	Consistency []struct {
		Size   int64
		Root   tlog.Hash
		Hashes tlog.TreeProof
	}
}

// tiles implements tlog.TileReader on a folder.
type tiles string

func (tiles) Height() int { return height }

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (folder tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		// sumdb writes the height into its paths; tlog-tiles, where it is always 8, does not.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		read, err := os.ReadFile(filepath.Join(string(folder), path))
		if err != nil {
			return nil, err
		}
		data = append(data, read)
	}
	return data, nil
}

func main() {
	log.SetFlags(0)
	folder := os.Args[1]
	tree := readCheckpoint(folder, os.Args[2])
	reader := tlog.TileHashReader(tree, tiles(folder))
	root, err := tlog.TreeHash(tree.N, reader)
	check(err)
	require(root == tree.Hash, "the tiles' root is not the checkpoint's")

	entries := readEntries(folder, tree.N)
	var indexes []int64
	for index := range entries {
		indexes = append(indexes, tlog.StoredHashIndex(0, int64(index)))
	}
	hashes, err := reader.ReadHashes(indexes)
	check(err)
	for index, entry := range entries {
		require(hashes[index] == tlog.RecordHash(entry), "entry %d is not its hash's", index)
	}

	var given proofs
	data, err := os.ReadFile(filepath.Join(folder, "proofs.json"))
	check(err)
	check(json.Unmarshal(data, &given))
	for _, proof := range given.Inclusion {
		hash := tlog.RecordHash(entries[proof.Index])
		check(tlog.CheckRecord(proof.Hashes, tree.N, tree.Hash, proof.Index, hash))
		expected, err := tlog.ProveRecord(tree.N, proof.Index, reader)
		check(err)
		require(len(expected) == 0 || reflect.DeepEqual(expected, proof.Hashes), "inclusion of %d", proof.Index)
	}
	for _, proof := range given.Consistency {
		check(tlog.CheckTree(proof.Hashes, tree.N, tree.Hash, proof.Size, proof.Root))
		expected, err := tlog.ProveTree(tree.N, proof.Size, reader)
		check(err)
		require(len(expected) == 0 || reflect.DeepEqual(expected, proof.Hashes), "growth from %d", proof.Size)
	}
	fmt.Printf("%d entries, %d inclusion proofs, %d consistency proofs\n",
		len(entries), len(given.Inclusion), len(given.Consistency))
}

// readCheckpoint verifies the note and returns what it says.
func readCheckpoint(folder, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	check(err)
	data, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	check(err)
	opened, err := note.Open(data, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	require(lines[0] == verifier.Name(), "the origin is not the key's name")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: root}
}

// readEntries returns the entries of all bundles.
func readEntries(folder string, size int64) [][]byte {
	var entries [][]byte
	for int64(len(entries)) < size {
		tile := tlog.Tile{H: height, L: -1, N: int64(len(entries)) >> height, W: 1 << height}
		if left := size - int64(len(entries)); left < 1<<height {
			tile.W = int(left)
		}
		// What sumdb calls data, tlog-tiles calls entries.
		path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(folder, path))
		check(err)
		for len(data) > 0 {
			require(len(data) > 1, "%s ends early", path)
			length := int(binary.BigEndian.Uint16(data))
			require(len(data) >= 2+length, "%s ends early", path)
			entries = append(entries, data[2:2+length])
			data = data[2+length:]
		}
	}
	return entries
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func require(holds bool, format string, values ...interface{}) {
	if !holds {
		log.Fatalf(format, values...)
	}
}
