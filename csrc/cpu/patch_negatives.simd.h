// Copying a rectangle of bytes, for one instruction set (see foreach_isa.h).

// Pieces are short: overlapping copies of a fixed size take less than a call. The last one ends with the piece.
template <int64_t BLOCK>
void copy_rows_by(const char* source, int64_t source_y, char* target, int64_t target_y, int64_t bytes, int64_t rows) {
  for (int64_t y = 0; y < rows; ++y, source += source_y, target += target_y) {
    for (int64_t i = 0; i + BLOCK < bytes; i += BLOCK) std::memcpy(target + i, source + i, BLOCK);
    std::memcpy(target + bytes - BLOCK, source + bytes - BLOCK, BLOCK);
  }
}

inline void copy_rectangle(const char* source, int64_t source_y, char* target, int64_t target_y, int64_t bytes,
                           int64_t rows) {
  const auto copy = bytes >= 32   ? copy_rows_by<32>
                    : bytes >= 16 ? copy_rows_by<16>
                    : bytes >= 4  ? copy_rows_by<4>
                                  : copy_rows_by<1>;
  copy(source, source_y, target, target_y, bytes, rows);
}
