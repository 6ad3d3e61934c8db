#include "cpu/semantics/crypto.h"
#include "cpu/table/table.h"
#include "cpu/vex_row.h"

namespace callgate {

namespace {
const Row kRows[] = {
    CG_ROW("66 0F 38 DB /r", aesimc, "Vx,Wa", kSse, kNoFlags, "aes"),
    CG_ROW("66 0F 38 DC /r", aesenc, "Vx,Wa", kSse, kNoFlags, "aes"),
    CG_ROW("66 0F 38 DD /r", aesenclast, "Vx,Wa", kSse, kNoFlags, "aes"),
    CG_ROW("66 0F 38 DE /r", aesdec, "Vx,Wa", kSse, kNoFlags, "aes"),
    CG_ROW("66 0F 38 DF /r", aesdeclast, "Vx,Wa", kSse, kNoFlags, "aes"),
    CG_ROW("66 0F 3A DF /r ib", aeskeygenassist, "Vx,Wa,Ib", kSse, kNoFlags, "aes"),
    CG_ROW("66 0F 3A 44 /r ib", pclmulqdq, "Vx,Wa,Ib", kSse, kNoFlags, "pclmulqdq"),

    CG_ROW("NP 0F 38 C8 /r", sha1nexte, "Vx,Wa", kSse, kNoFlags, "sha_ni"),
    CG_ROW("NP 0F 38 C9 /r", sha1msg1, "Vx,Wa", kSse, kNoFlags, "sha_ni"),
    CG_ROW("NP 0F 38 CA /r", sha1msg2, "Vx,Wa", kSse, kNoFlags, "sha_ni"),
    CG_ROW("NP 0F 38 CB /r", sha256rnds2, "Vx,Wa,XMM0", kSse, kNoFlags, "sha_ni"),
    CG_ROW("NP 0F 38 CC /r", sha256msg1, "Vx,Wa", kSse, kNoFlags, "sha_ni"),
    CG_ROW("NP 0F 38 CD /r", sha256msg2, "Vx,Wa", kSse, kNoFlags, "sha_ni"),
    CG_ROW("NP 0F 3A CC /r ib", sha1rnds4, "Vx,Wa,Ib", kSse, kNoFlags, "sha_ni"),

    // Behind VEX.
    CG_VEX("VEX.128.66.0F38.WIG DB /r", aesimc, "Vx,Wx", "aes"),
    CG_VEX("VEX.66.0F38.WIG DC /r", aesenc, "Vx,Hx,Wx", "vaes"),
    CG_VEX("VEX.66.0F38.WIG DD /r", aesenclast, "Vx,Hx,Wx", "vaes"),
    CG_VEX("VEX.66.0F38.WIG DE /r", aesdec, "Vx,Hx,Wx", "vaes"),
    CG_VEX("VEX.66.0F38.WIG DF /r", aesdeclast, "Vx,Hx,Wx", "vaes"),
    CG_VEX("VEX.128.66.0F3A.WIG DF /r ib", aeskeygenassist, "Vx,Wx,Ib", "aes"),
    CG_VEX("VEX.66.0F3A.WIG 44 /r ib", pclmulqdq, "Vx,Hx,Wx,Ib", "vpclmulqdq"),
};
}  // namespace

std::span<const Row> crypto_rows() { return kRows; }

}  // namespace callgate
