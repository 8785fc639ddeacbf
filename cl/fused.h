/* SPDX-License-Identifier: Apache-2.0
 * fused.h: what a linear layer fuses behind its product, for linear.cl and epilogue.cl, which have the
 * arguments under the names below.
 *
 * FUSE(v, m, n, at): v is element (m, n) of the product, `at` its place in y [M, N].
 * v = residual + gate act(z), z = v + bias + add also to `pre`; or, LINEAR_SLOPE, v = (v + add) act'(pre).
 * `rows` rows a sample, whose gates are gate_stride apart; a shared residual is one sample's [rows, N]. */
#define FUSE(v, m, n, at)                                                                  \
    {                                                                                      \
        uint kind = flags >> LINEAR_ACT;                                                   \
        if (FLAG(flags, LINEAR_BIAS))                                                      \
            v += bias[bias_at + (size_t)(n)];                                              \
        if (FLAG(flags, LINEAR_ADD))                                                       \
            v += add[add_at + (at)];                                                       \
        if (FLAG(flags, LINEAR_SLOPE)) {                                                   \
            v *= act_slope(kind, pre[pre_at + (at)]);                                      \
        } else {                                                                           \
            if (FLAG(flags, LINEAR_PRE))                                                   \
                pre[pre_at + (at)] = v;                                                    \
            v = act(kind, v);                                                              \
        }                                                                                  \
        if (FLAG(flags, LINEAR_GATE))                                                      \
            v *= gate[gate_at + (size_t)((m) / rows) * (size_t)gate_stride + (size_t)(n)]; \
        if (FLAG(flags, LINEAR_RESIDUAL)) {                                                \
            int from = FLAG(flags, LINEAR_SHARED) ? (m) % rows : (m);                      \
            v += residual[residual_at + (size_t)from * (size_t)N + (size_t)(n)];           \
        }                                                                                  \
    }
