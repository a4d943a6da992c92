// Copying pieces of rows, for one instruction set (see foreach_isa.h).

// Pieces are short: overlapping copies of a fixed size take less than a call. The last one ends with the piece.
template <int64_t BLOCK>
void copy_pieces_by(const char* source, int64_t source_y, const int64_t* offsets, int64_t count, int64_t bytes,
                    char* target, int64_t target_y) {
  for (int64_t i = 0; i < count; ++i, target += bytes) {
    const char* from = source + offsets[i];
    __builtin_prefetch(from + source_y);
    __builtin_prefetch(from + source_y + bytes - 1);
    __builtin_prefetch(target + target_y, 1);
    for (int64_t at = 0; at + BLOCK < bytes; at += BLOCK) std::memcpy(target + at, from + at, BLOCK);
    std::memcpy(target + bytes - BLOCK, from + bytes - BLOCK, BLOCK);
  }
}

// `count` pieces of `bytes` each, side by side in `target`. Rows are `source_y` and `target_y` bytes apart; the next
// one is fetched early.
inline void copy_pieces(const char* source, int64_t source_y, const int64_t* offsets, int64_t count, int64_t bytes,
                        char* target, int64_t target_y) {
  const auto copy = bytes >= 64   ? copy_pieces_by<64>
                    : bytes >= 32 ? copy_pieces_by<32>
                    : bytes >= 16 ? copy_pieces_by<16>
                    : bytes >= 4  ? copy_pieces_by<4>
                                  : copy_pieces_by<1>;
  copy(source, source_y, offsets, count, bytes, target, target_y);
}
