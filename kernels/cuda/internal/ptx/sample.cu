// Drawing ids. Probabilities are e^(z-max) in units of 2^-40, integers, so that every sum of them is exact and no
// order matters; what is less than a unit, is never drawn.
#include "scan.h"

// Words of a draw, as kernels/cuda/batch.go lays them.
enum { flagsAt, invTempAt, topKAt, topPAt, minPAt, streamAt, posAt = 7, neverAt, nevers = 10, adjustAt, adjusts = 13, ruleWords };

// The list whose address is in two words of a draw.
FN const u32 *list(const u32 *at) { return (const u32 *)((u64)at[1] << 32 | at[0]); }

// The place of an id in the order in which truncations keep ids: the larger x first, then the lower id. No two are
// the same. Callers leave NaN and -Inf out.
FN u64 order(float x, int id) {
	u32 u = bits(x + 0.0f); // -0 is 0
	u = u >> 31 ? ~u : u | 0x80000000u;
	return (u64)~u << 32 | (u32)id;
}
const u64 nowhere = ~0ull;

FN u64 shuffled(u64 x, int mask) { return __builtin_bit_cast(u64, lanesDouble(__builtin_bit_cast(double, x), mask)); }
FN u64 warpMin(u64 x) {
	UNROLL for (int m = 16; m; m >>= 1) {
		u64 y = shuffled(x, m);
		if (y < x) x = y;
	}
	return x;
}
FN u64 warpTotal(u64 x) {
	UNROLL for (int m = 16; m; m >>= 1) x += shuffled(x, m);
	return x;
}
// The sum over the lanes up to this one.
FN u64 warpUpTo(u64 x) {
	UNROLL for (int m = 1; m < 32; m <<= 1) {
		u32 lo = __nvvm_shfl_sync_up_i32(0xffffffff, (int)(u32)x, m, 0);
		u32 hi = __nvvm_shfl_sync_up_i32(0xffffffff, (int)(x >> 32), m, 0);
		if (lane() >= m) x += (u64)hi << 32 | lo;
	}
	return x;
}
FN bool any(bool x) { return __nvvm_vote_any_sync(0xffffffff, x); }
FN u64 mulHigh(u64 a, u64 b) { return (u64)((unsigned __int128)a * b >> 64); }

// Adds to a word of shared memory and returns what it was; what several threads add, they may add in any order.
FN u32 addShared(u32 *p, u32 x) {
	u32 old;
	asm volatile("atom.shared.add.u32 %0, [%1], %2;" : "=r"(old) : "r"(shared(p)), "r"(x) : "memory");
	return old;
}
// A sum of 64 bits that several threads add to: two words and a carry.
FN void addShared(u32 *lo, u32 *hi, u64 x) {
	u32 low = (u32)x, high = (u32)(x >> 32);
	if (addShared(lo, low) + low < low) high++;
	if (high) addShared(hi, high);
}

// The logits of the row, changed: those of Adjust first, then those that are never drawn. copy are ids [from, from+n).
FN void change(float *copy, int from, int n, const u32 *rule) {
	const u32 *adjust = list(rule + adjustAt), *never = list(rule + neverAt);
	for (u32 i = tid(); i < rule[adjusts]; i += threads()) {
		const u32 *a = adjust + 4 * i;
		u32 at = a[0] - from;
		if (at >= (u32)n) continue;
		float z = copy[at] + real(a[1]), scale = real(a[2]);
		if (scale != 0) z = z < 0 ? z * scale : z / scale;
		copy[at] = z - real(a[3]);
	}
	sync();
	for (u32 i = tid(); i < rule[nevers]; i += threads()) {
		u32 at = never[i] - from;
		if (at < (u32)n) copy[at] = -inf();
	}
	sync();
}

// For each chunk of each row of logits [rows, v]: its part as it came (raw [rows, chunks]) and as it is drawn from,
// after changes (drawn), and, where the draw is greedy, the first place in it (best, nowhere: none). Rows with
// changes go to copy [rows, copyStride]. draws [rows][ruleWords]. A block a (row, chunk), 256 threads, 32 of a
// vocabulary of at most 512: bound by memory.
KERNEL(256) sampleChunks(Part *raw, Part *drawn, u64 *best, float *copy, i64 copyStride, const float *logits,
	i64 stride, const u32 *draws, int v, int chunks) {
	__shared__ Reduce r;
	__shared__ u64 first[8];
	int row = blockX() / chunks, c = blockX() % chunks, from = c * chunkIDs, n = least(chunkIDs, v - from);
	const u32 *rule = draws + (i64)row * ruleWords;
	float x[16], invTemp = real(rule[invTempAt]);
	load16(x, logits + row * stride + from, n);
	Part whole = scan(x, n, invTemp, r), after = whole;
	if (rule[nevers] + rule[adjusts]) {
		float *own = copy + row * copyStride + from;
		UNROLL for (int i = 0; i < 16; i++)
			if (place(i / 4, i % 4) < n) own[place(i / 4, i % 4)] = x[i];
		sync();
		change(own, from, n, rule);
		load16(x, own, n);
		after = scan(x, n, invTemp, r);
	}
	u64 p = nowhere;
	if (rule[flagsAt] & 1) {
		UNROLL for (int i = 0; i < 16; i++) {
			if (!some(i / 4, n)) break;
			u64 q = order(x[i], from + place(i / 4, i % 4));
			if (x[i] > -inf() && q < p) p = q;
		}
		p = warpMin(p);
		if (lane() == 0) first[warp()] = p;
		sync();
		for (int w = 0; w < threads() >> 5; w++) p = first[w] < p ? first[w] : p;
	}
	if (tid()) return;
	i64 at = (i64)row * chunks + c;
	raw[at] = whole, drawn[at] = after, best[at] = p;
}

// A row that is drawn from.
struct Row {
	const float *x;
	int v;
	float invTemp, most; // the largest z
};

// The probability of z, not normalised.
FN u64 weight(const Row &r, float z) { return (u64)(exp(z - r.most) * 0x1p40f); }

// Calls f(z, id, quad) for ids of the row and all threads: each has four neighbours, a warp 128 of one chunk, and
// quad ends with each four.
template <class F, class G> FN void each(const Row &r, F f, G quad) {
	for (int from = 0; from < r.v; from += 16 * threads()) {
		float x[16];
		load16(x, r.x + from, r.v - from);
		UNROLL for (int i = 0; i < 4; i++) {
			if (!some(i, r.v - from)) break;
			int at = from + place(i, 0);
			UNROLL for (int j = 0; j < 4; j++)
				if (at + j < r.v) f(x[4 * i + j] * r.invTemp, at + j);
			quad(at);
		}
	}
}
template <class F> FN void each(const Row &r, F f) {
	each(r, f, [](int) {});
}

// Ids with weight by falling z: bins of how many there are, and of their weights.
const int binCount = 256;
struct Bins { u32 count[binCount], lo[binCount], hi[binCount]; };

// Candidates for the place of a threshold, and what a chunk has at most.
const int listed = 512, mostChunks = 1024;

// Shared memory of a draw.
struct Draw {
	Bins all, fine;            // of the row by z, and of a range of places
	u64 at[listed], w[listed]; // of candidates
	u32 candidates;
	u32 lo[mostChunks], hi[mostChunks]; // weights of chunks
	u64 warps[16], other[16];
	// Found by one thread: where something is reached, and what came before.
	int bin;
	u64 count, mass, limit;
	int id;
};

// 16 bins a unit of z below the largest; the last one has all that is further down, of which most rows have many.
FN int binOf(const Row &r, float z) { return (int)__builtin_fminf((r.most - z) * 16, binCount - 1); }

FN void clear(Bins &b) {
	for (int i = tid(); i < binCount; i += threads()) b.count[i] = b.lo[i] = b.hi[i] = 0;
}
FN void add(Bins &b, int i, u64 w) {
	addShared(&b.count[i], 1);
	addShared(&b.lo[i], &b.hi[i], w);
}
FN u64 wide(u32 lo, u32 hi) { return (u64)hi << 32 | lo; }

// The first of n bins up to which the masses (or the counts) reach need > 0, into s.bin, and what was counted before
// into s.count and s.mass: one warp, each lane some neighbouring bins. Where all together do not, it is n, and what
// there is of all.
FN void reach(Draw &s, const u32 *count, const u32 *lo, const u32 *hi, int n, bool byMass, u64 need) {
	sync();
	if (warp() == 0) {
		int per = (n + 31) / 32, from = lane() * per, to = least(from + per, n);
		u64 c = 0, w = 0;
		for (int i = from; i < to; i++) c += count ? count[i] : 0, w += wide(lo[i], hi[i]);
		u64 countTo = warpUpTo(c), massTo = warpUpTo(w);
		u64 upTo = byMass ? massTo : countTo, before = upTo - (byMass ? w : c);
		if (lane() == 31 && upTo < need) s.bin = n, s.count = countTo, s.mass = massTo;
		if (before < need && need <= upTo) {
			c = countTo - c, w = massTo - w;
			int i = from;
			for (;; i++) {
				u64 c1 = c + (count ? count[i] : 0), w1 = w + wide(lo[i], hi[i]);
				if ((byMass ? w1 : c1) >= need) break;
				c = c1, w = w1;
			}
			s.bin = i, s.count = c, s.mass = w;
		}
	}
	sync();
}
FN void reach(Draw &s, const Bins &b, bool byMass, u64 need) { reach(s, b.count, b.lo, b.hi, binCount, byMass, need); }

// The least and the largest of x over the block.
FN void extremes(Draw &s, u64 &low, u64 &high) {
	low = warpMin(low), high = ~warpMin(~high);
	if (lane() == 0) s.warps[warp()] = low, s.other[warp()] = high;
	sync();
	for (int w = 0; w < threads() >> 5; w++) {
		if (s.warps[w] < low) low = s.warps[w];
		if (s.other[w] > high) high = s.other[w];
	}
}

// The place of the last id that is kept where the first ids, in the order of places, are kept up to a mass (or
// number) of need, into s.limit, and the mass of those kept into s.mass. The bin by z is known from s.all; if there
// are too many ids in it, the range of their places is divided by 256, by a pass over the row each time; the ids that
// are left are compared with each other.
FN void select(Draw &s, const Row &r, bool byMass, u64 need) {
	reach(s, s.all, byMass, need);
	int bin = s.bin;
	u64 mass = s.mass, n = s.all.count[bin], from = 0, to = nowhere;
	need -= byMass ? s.mass : s.count;
	if (n > listed) {
		u64 low = nowhere, high = 0;
		each(r, [&](float z, int id) {
			if (binOf(r, z) != bin || !weight(r, z)) return;
			u64 p = order(z, id);
			if (p < low) low = p;
			if (p > high) high = p;
		});
		extremes(s, low, high);
		from = low, to = high;
	}
	while (n > listed) {
		int shift = 64 - 8 - __builtin_clzll(to - from);
		if (shift < 0) shift = 0;
		sync();
		clear(s.fine);
		sync();
		each(r, [&](float z, int id) {
			u64 p = order(z, id);
			if (p < from || p > to) return;
			u64 w = weight(r, z);
			if (w) add(s.fine, (int)((p - from) >> shift), w);
		});
		reach(s, s.fine, byMass, need);
		need -= byMass ? s.mass : s.count;
		mass += s.mass, n = s.fine.count[s.bin];
		from += (u64)s.bin << shift;
		u64 end = from + ((1ull << shift) - 1);
		if (end < to) to = end;
	}
	sync();
	if (tid() == 0) s.candidates = 0;
	sync();
	each(r, [&](float z, int id) {
		u64 p = order(z, id);
		if (binOf(r, z) != bin || p < from || p > to) return;
		u64 w = weight(r, z);
		if (!w) return;
		u32 i = addShared(&s.candidates, 1);
		s.at[i] = p, s.w[i] = w;
	});
	sync();
	for (int i = tid(); i < (int)n; i += threads()) {
		u64 own = s.at[i], count = 0, w = 0;
		for (int j = 0; j < (int)n; j++)
			if (s.at[j] < own) count++, w += s.w[j];
		u64 before = byMass ? w : count, upTo = before + (byMass ? s.w[i] : 1);
		if (before < need && need <= upTo) s.limit = own, s.mass = mass + w + s.w[i];
	}
	sync();
}

// The place of the last id that top-k and top-p keep.
FN u64 truncate(Draw &s, const Row &r, u64 topK, float topP) {
	clear(s.all);
	sync();
	u64 count = 0, mass = 0; // of the last bin
	each(r, [&](float z, int) {
		u64 w = weight(r, z);
		if (!w) return;
		int i = binOf(r, z);
		if (i == binCount - 1) count++, mass += w;
		else add(s.all, i, w);
	});
	count = warpTotal(count), mass = warpTotal(mass);
	if (lane() == 0 && count) {
		addShared(&s.all.count[binCount - 1], (u32)count);
		addShared(&s.all.lo[binCount - 1], &s.all.hi[binCount - 1], mass);
	}
	u64 limit = nowhere;
	reach(s, s.all, false, topK ? topK : nowhere);
	if (s.bin < binCount) {
		select(s, r, false, topK);
		limit = s.limit;
	}
	u64 total = s.mass;
	if (topP > 0 && topP < 1) {
		u64 need = (u64)__builtin_ceil((double)topP * (double)total);
		if (need > total) need = total;
		sync();
		select(s, r, true, need ? need : 1);
		if (s.limit < limit) limit = s.limit;
	}
	return limit;
}

// num.Uniform in units of 2^-64.
FN u64 mix(u64 z) {
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
FN u64 uniform(u64 stream, int pos) { return mix(stream + ((u64)(i64)pos + 1) * 0x9e3779b97f4a7c15ull) & ~0x7ffull; }

// The id of chunk c at which its weights, ids ascending, exceed that share of their sum: ids up to limit that have at
// least the weight lightest.
FN int within(Draw &s, const Row &r, int c, double share, u64 limit, u64 lightest) {
	int from = c * chunkIDs, n = least(chunkIDs, r.v - from), per = (n + threads() - 1) / threads();
	int at = from + least(tid() * per, n), end = from + least((tid() + 1) * per, n);
	auto kept = [&](int id) -> u64 {
		float z = r.x[id] * r.invTemp;
		u64 w = weight(r, z);
		return w >= lightest && order(z, id) <= limit ? w : 0;
	};
	u64 sum = 0;
	for (int id = at; id < end; id++) sum += kept(id);
	u64 upTo = warpUpTo(sum);
	sync();
	if (lane() == 31) s.warps[warp()] = upTo;
	sync();
	u64 total = 0, before = upTo - sum;
	for (int w = 0; w < threads() >> 5; w++) {
		if (w < warp()) before += s.warps[w];
		total += s.warps[w];
	}
	u64 target = (u64)(share * (double)total);
	if (target >= total) target = total - 1;
	if (before <= target && target < before + sum) {
		for (;; at++)
			if ((before += kept(at)) > target) break;
		s.id = at;
	}
	sync();
	return s.id;
}

// The id that a rule draws from a row whose parts are these.
FN int draw(Draw &s, Row r, const Part *parts, int chunks, const u32 *rule) {
	Softmax all = merge(parts, chunks);
	if (!(all.sum > 0)) return 0; // NaN, or nothing to draw
	r.most = all.m;
	u64 topK = rule[topKAt], limit = nowhere, lightest = 1;
	float topP = real(rule[topPAt]), minP = real(rule[minPAt]);
	if (minP > 1) topK = 1;
	else if (minP > 0) lightest = (u64)(minP * 0x1p40f);
	if (!lightest) lightest = 1;
	bool whole = !topK && !(topP > 0 && topP < 1) && lightest == 1;
	if (!whole && (topK || (topP > 0 && topP < 1))) limit = truncate(s, r, topK, topP);
	for (int c = tid(); c < chunks; c += threads()) {
		u64 w = whole ? (u64)(exp(larger(parts[c].m - r.most, -150)) * parts[c].sum * 0x1p40f) : 0;
		s.lo[c] = (u32)w, s.hi[c] = (u32)(w >> 32);
	}
	sync();
	if (!whole) {
		u64 sum = 0;
		each(r, [&](float z, int id) {
			if (order(z, id) > limit) return;
			u64 w = weight(r, z);
			if (w >= lightest) sum += w;
		}, [&](int at) {
			if (any(sum != 0)) {
				u64 w = warpTotal(sum);
				if (lane() == 0) addShared(&s.lo[at / chunkIDs], &s.hi[at / chunkIDs], w);
			}
			sum = 0;
		});
	}
	reach(s, nullptr, s.lo, s.hi, chunks, true, nowhere);
	u64 target = mulHigh(uniform(wide(rule[streamAt], rule[streamAt + 1]), (int)rule[posAt]), s.mass);
	reach(s, nullptr, s.lo, s.hi, chunks, true, target + 1);
	int c = s.bin;
	double share = (double)(target - s.mass) / (double)wide(s.lo[c], s.hi[c]);
	if (whole) r.most = parts[c].m;
	return within(s, r, c, share, limit, lightest);
}

// ids [rows] by draws [rows][ruleWords], and their scores as LogProb's (0: none), from what sampleChunks left. A
// block a row: 32 threads of a vocabulary of at most 512, 256 of at most 4096, 512 beyond. Without truncation it
// reads one chunk of the row; with it, the row a few times.
KERNEL(512, 1) sampleRows(int *ids, float *logp, float *entropy, float *lse, const Part *raw, const Part *drawn,
	const u64 *best, const float *copy, i64 copyStride, const float *logits, i64 stride,
	const u32 *draws, int v, int chunks) {
	__shared__ Draw s;
	int row = blockX(), id = 0;
	const u32 *rule = draws + (i64)row * ruleWords;
	raw += (i64)row * chunks, drawn += (i64)row * chunks, best += (i64)row * chunks;
	float invTemp = real(rule[invTempAt]);
	if (rule[flagsAt] & 1) {
		u64 p = nowhere;
		for (int c = lane(); c < chunks; c += 32) p = best[c] < p ? best[c] : p;
		p = warpMin(p);
		if (p != nowhere) id = (int)(u32)p;
	} else {
		const float *x = rule[nevers] + rule[adjusts] ? copy + row * copyStride : logits + row * stride;
		id = draw(s, {x, v, invTemp, 0}, drawn, chunks, rule);
	}
	if (tid() == 0) ids[row] = id;
	if (warp() || !(logp || entropy || lse)) return;
	Softmax all = merge(raw, chunks);
	if (lane()) return;
	score(all, logits[row * stride + id] * invTemp, row, logp, entropy, lse);
}
