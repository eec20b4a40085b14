/* spacetimedb_arity.h - counting and walking macro arguments. Nothing here is for authors.
 *
 * ST_I_N(a, b, c)        the number of arguments, 1 to 64
 * ST_I_EACH(M, c, x...)  M(c, x1) M(c, x2) ... for up to 64 arguments
 * ST_I_IS1(x...)         A for exactly one argument, B for more
 * ST_I_IS2(x...)         NONE for one, A for exactly two, B for more
 *
 * From 65 to 96 arguments ST_I_N gives TOO_MANY, which ends in a readable message. */
#ifndef SPACETIMEDB_ARITY_H
#define SPACETIMEDB_ARITY_H

#define ST_I_CAT_(a, b) a##b
#define ST_I_CAT(a, b) ST_I_CAT_(a, b)

#define ST_I_EACH(M, c, ...) ST_I_CAT(ST_I_EACH_, ST_I_N(__VA_ARGS__))(M, c, __VA_ARGS__)
#define ST_I_IS1(...) ST_I_CAT(ST_I_IS1_, ST_I_N(__VA_ARGS__))
#define ST_I_IS2(...) ST_I_CAT(ST_I_IS2_, ST_I_N(__VA_ARGS__))
#define ST_I_EACH_TOO_MANY(...) \
    _Static_assert(0, "at most 64 columns, fields, variants or arguments: group some in an ST_STRUCT");

#define ST_I_N(...) ST_I_N_(__VA_ARGS__, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, \
    48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, \
    32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, \
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, \
    0)
#define ST_I_N_( \
    _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, \
    _17, _18, _19, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, _32, \
    _33, _34, _35, _36, _37, _38, _39, _40, _41, _42, _43, _44, _45, _46, _47, _48, \
    _49, _50, _51, _52, _53, _54, _55, _56, _57, _58, _59, _60, _61, _62, _63, _64, \
    _65, _66, _67, _68, _69, _70, _71, _72, _73, _74, _75, _76, _77, _78, _79, _80, \
    _81, _82, _83, _84, _85, _86, _87, _88, _89, _90, _91, _92, _93, _94, _95, _96, n, ...) n

#define ST_I_IS1_1 A
#define ST_I_IS1_2 B
#define ST_I_IS1_3 B
#define ST_I_IS1_4 B
#define ST_I_IS1_5 B
#define ST_I_IS1_6 B
#define ST_I_IS1_7 B
#define ST_I_IS1_8 B
#define ST_I_IS1_9 B
#define ST_I_IS1_10 B
#define ST_I_IS1_11 B
#define ST_I_IS1_12 B
#define ST_I_IS1_13 B
#define ST_I_IS1_14 B
#define ST_I_IS1_15 B
#define ST_I_IS1_16 B
#define ST_I_IS1_17 B
#define ST_I_IS1_18 B
#define ST_I_IS1_19 B
#define ST_I_IS1_20 B
#define ST_I_IS1_21 B
#define ST_I_IS1_22 B
#define ST_I_IS1_23 B
#define ST_I_IS1_24 B
#define ST_I_IS1_25 B
#define ST_I_IS1_26 B
#define ST_I_IS1_27 B
#define ST_I_IS1_28 B
#define ST_I_IS1_29 B
#define ST_I_IS1_30 B
#define ST_I_IS1_31 B
#define ST_I_IS1_32 B
#define ST_I_IS1_33 B
#define ST_I_IS1_34 B
#define ST_I_IS1_35 B
#define ST_I_IS1_36 B
#define ST_I_IS1_37 B
#define ST_I_IS1_38 B
#define ST_I_IS1_39 B
#define ST_I_IS1_40 B
#define ST_I_IS1_41 B
#define ST_I_IS1_42 B
#define ST_I_IS1_43 B
#define ST_I_IS1_44 B
#define ST_I_IS1_45 B
#define ST_I_IS1_46 B
#define ST_I_IS1_47 B
#define ST_I_IS1_48 B
#define ST_I_IS1_49 B
#define ST_I_IS1_50 B
#define ST_I_IS1_51 B
#define ST_I_IS1_52 B
#define ST_I_IS1_53 B
#define ST_I_IS1_54 B
#define ST_I_IS1_55 B
#define ST_I_IS1_56 B
#define ST_I_IS1_57 B
#define ST_I_IS1_58 B
#define ST_I_IS1_59 B
#define ST_I_IS1_60 B
#define ST_I_IS1_61 B
#define ST_I_IS1_62 B
#define ST_I_IS1_63 B
#define ST_I_IS1_64 B
#define ST_I_IS1_TOO_MANY B

#define ST_I_IS2_1 NONE
#define ST_I_IS2_2 A
#define ST_I_IS2_3 B
#define ST_I_IS2_4 B
#define ST_I_IS2_5 B
#define ST_I_IS2_6 B
#define ST_I_IS2_7 B
#define ST_I_IS2_8 B
#define ST_I_IS2_9 B
#define ST_I_IS2_10 B
#define ST_I_IS2_11 B
#define ST_I_IS2_12 B
#define ST_I_IS2_13 B
#define ST_I_IS2_14 B
#define ST_I_IS2_15 B
#define ST_I_IS2_16 B
#define ST_I_IS2_17 B
#define ST_I_IS2_18 B
#define ST_I_IS2_19 B
#define ST_I_IS2_20 B
#define ST_I_IS2_21 B
#define ST_I_IS2_22 B
#define ST_I_IS2_23 B
#define ST_I_IS2_24 B
#define ST_I_IS2_25 B
#define ST_I_IS2_26 B
#define ST_I_IS2_27 B
#define ST_I_IS2_28 B
#define ST_I_IS2_29 B
#define ST_I_IS2_30 B
#define ST_I_IS2_31 B
#define ST_I_IS2_32 B
#define ST_I_IS2_33 B
#define ST_I_IS2_34 B
#define ST_I_IS2_35 B
#define ST_I_IS2_36 B
#define ST_I_IS2_37 B
#define ST_I_IS2_38 B
#define ST_I_IS2_39 B
#define ST_I_IS2_40 B
#define ST_I_IS2_41 B
#define ST_I_IS2_42 B
#define ST_I_IS2_43 B
#define ST_I_IS2_44 B
#define ST_I_IS2_45 B
#define ST_I_IS2_46 B
#define ST_I_IS2_47 B
#define ST_I_IS2_48 B
#define ST_I_IS2_49 B
#define ST_I_IS2_50 B
#define ST_I_IS2_51 B
#define ST_I_IS2_52 B
#define ST_I_IS2_53 B
#define ST_I_IS2_54 B
#define ST_I_IS2_55 B
#define ST_I_IS2_56 B
#define ST_I_IS2_57 B
#define ST_I_IS2_58 B
#define ST_I_IS2_59 B
#define ST_I_IS2_60 B
#define ST_I_IS2_61 B
#define ST_I_IS2_62 B
#define ST_I_IS2_63 B
#define ST_I_IS2_64 B
#define ST_I_IS2_TOO_MANY B

#define ST_I_EACH_1(M, c, a) M(c, a)
#define ST_I_EACH_2(M, c, a, ...) M(c, a) ST_I_EACH_1(M, c, __VA_ARGS__)
#define ST_I_EACH_3(M, c, a, ...) M(c, a) ST_I_EACH_2(M, c, __VA_ARGS__)
#define ST_I_EACH_4(M, c, a, ...) M(c, a) ST_I_EACH_3(M, c, __VA_ARGS__)
#define ST_I_EACH_5(M, c, a, ...) M(c, a) ST_I_EACH_4(M, c, __VA_ARGS__)
#define ST_I_EACH_6(M, c, a, ...) M(c, a) ST_I_EACH_5(M, c, __VA_ARGS__)
#define ST_I_EACH_7(M, c, a, ...) M(c, a) ST_I_EACH_6(M, c, __VA_ARGS__)
#define ST_I_EACH_8(M, c, a, ...) M(c, a) ST_I_EACH_7(M, c, __VA_ARGS__)
#define ST_I_EACH_9(M, c, a, ...) M(c, a) ST_I_EACH_8(M, c, __VA_ARGS__)
#define ST_I_EACH_10(M, c, a, ...) M(c, a) ST_I_EACH_9(M, c, __VA_ARGS__)
#define ST_I_EACH_11(M, c, a, ...) M(c, a) ST_I_EACH_10(M, c, __VA_ARGS__)
#define ST_I_EACH_12(M, c, a, ...) M(c, a) ST_I_EACH_11(M, c, __VA_ARGS__)
#define ST_I_EACH_13(M, c, a, ...) M(c, a) ST_I_EACH_12(M, c, __VA_ARGS__)
#define ST_I_EACH_14(M, c, a, ...) M(c, a) ST_I_EACH_13(M, c, __VA_ARGS__)
#define ST_I_EACH_15(M, c, a, ...) M(c, a) ST_I_EACH_14(M, c, __VA_ARGS__)
#define ST_I_EACH_16(M, c, a, ...) M(c, a) ST_I_EACH_15(M, c, __VA_ARGS__)
#define ST_I_EACH_17(M, c, a, ...) M(c, a) ST_I_EACH_16(M, c, __VA_ARGS__)
#define ST_I_EACH_18(M, c, a, ...) M(c, a) ST_I_EACH_17(M, c, __VA_ARGS__)
#define ST_I_EACH_19(M, c, a, ...) M(c, a) ST_I_EACH_18(M, c, __VA_ARGS__)
#define ST_I_EACH_20(M, c, a, ...) M(c, a) ST_I_EACH_19(M, c, __VA_ARGS__)
#define ST_I_EACH_21(M, c, a, ...) M(c, a) ST_I_EACH_20(M, c, __VA_ARGS__)
#define ST_I_EACH_22(M, c, a, ...) M(c, a) ST_I_EACH_21(M, c, __VA_ARGS__)
#define ST_I_EACH_23(M, c, a, ...) M(c, a) ST_I_EACH_22(M, c, __VA_ARGS__)
#define ST_I_EACH_24(M, c, a, ...) M(c, a) ST_I_EACH_23(M, c, __VA_ARGS__)
#define ST_I_EACH_25(M, c, a, ...) M(c, a) ST_I_EACH_24(M, c, __VA_ARGS__)
#define ST_I_EACH_26(M, c, a, ...) M(c, a) ST_I_EACH_25(M, c, __VA_ARGS__)
#define ST_I_EACH_27(M, c, a, ...) M(c, a) ST_I_EACH_26(M, c, __VA_ARGS__)
#define ST_I_EACH_28(M, c, a, ...) M(c, a) ST_I_EACH_27(M, c, __VA_ARGS__)
#define ST_I_EACH_29(M, c, a, ...) M(c, a) ST_I_EACH_28(M, c, __VA_ARGS__)
#define ST_I_EACH_30(M, c, a, ...) M(c, a) ST_I_EACH_29(M, c, __VA_ARGS__)
#define ST_I_EACH_31(M, c, a, ...) M(c, a) ST_I_EACH_30(M, c, __VA_ARGS__)
#define ST_I_EACH_32(M, c, a, ...) M(c, a) ST_I_EACH_31(M, c, __VA_ARGS__)
#define ST_I_EACH_33(M, c, a, ...) M(c, a) ST_I_EACH_32(M, c, __VA_ARGS__)
#define ST_I_EACH_34(M, c, a, ...) M(c, a) ST_I_EACH_33(M, c, __VA_ARGS__)
#define ST_I_EACH_35(M, c, a, ...) M(c, a) ST_I_EACH_34(M, c, __VA_ARGS__)
#define ST_I_EACH_36(M, c, a, ...) M(c, a) ST_I_EACH_35(M, c, __VA_ARGS__)
#define ST_I_EACH_37(M, c, a, ...) M(c, a) ST_I_EACH_36(M, c, __VA_ARGS__)
#define ST_I_EACH_38(M, c, a, ...) M(c, a) ST_I_EACH_37(M, c, __VA_ARGS__)
#define ST_I_EACH_39(M, c, a, ...) M(c, a) ST_I_EACH_38(M, c, __VA_ARGS__)
#define ST_I_EACH_40(M, c, a, ...) M(c, a) ST_I_EACH_39(M, c, __VA_ARGS__)
#define ST_I_EACH_41(M, c, a, ...) M(c, a) ST_I_EACH_40(M, c, __VA_ARGS__)
#define ST_I_EACH_42(M, c, a, ...) M(c, a) ST_I_EACH_41(M, c, __VA_ARGS__)
#define ST_I_EACH_43(M, c, a, ...) M(c, a) ST_I_EACH_42(M, c, __VA_ARGS__)
#define ST_I_EACH_44(M, c, a, ...) M(c, a) ST_I_EACH_43(M, c, __VA_ARGS__)
#define ST_I_EACH_45(M, c, a, ...) M(c, a) ST_I_EACH_44(M, c, __VA_ARGS__)
#define ST_I_EACH_46(M, c, a, ...) M(c, a) ST_I_EACH_45(M, c, __VA_ARGS__)
#define ST_I_EACH_47(M, c, a, ...) M(c, a) ST_I_EACH_46(M, c, __VA_ARGS__)
#define ST_I_EACH_48(M, c, a, ...) M(c, a) ST_I_EACH_47(M, c, __VA_ARGS__)
#define ST_I_EACH_49(M, c, a, ...) M(c, a) ST_I_EACH_48(M, c, __VA_ARGS__)
#define ST_I_EACH_50(M, c, a, ...) M(c, a) ST_I_EACH_49(M, c, __VA_ARGS__)
#define ST_I_EACH_51(M, c, a, ...) M(c, a) ST_I_EACH_50(M, c, __VA_ARGS__)
#define ST_I_EACH_52(M, c, a, ...) M(c, a) ST_I_EACH_51(M, c, __VA_ARGS__)
#define ST_I_EACH_53(M, c, a, ...) M(c, a) ST_I_EACH_52(M, c, __VA_ARGS__)
#define ST_I_EACH_54(M, c, a, ...) M(c, a) ST_I_EACH_53(M, c, __VA_ARGS__)
#define ST_I_EACH_55(M, c, a, ...) M(c, a) ST_I_EACH_54(M, c, __VA_ARGS__)
#define ST_I_EACH_56(M, c, a, ...) M(c, a) ST_I_EACH_55(M, c, __VA_ARGS__)
#define ST_I_EACH_57(M, c, a, ...) M(c, a) ST_I_EACH_56(M, c, __VA_ARGS__)
#define ST_I_EACH_58(M, c, a, ...) M(c, a) ST_I_EACH_57(M, c, __VA_ARGS__)
#define ST_I_EACH_59(M, c, a, ...) M(c, a) ST_I_EACH_58(M, c, __VA_ARGS__)
#define ST_I_EACH_60(M, c, a, ...) M(c, a) ST_I_EACH_59(M, c, __VA_ARGS__)
#define ST_I_EACH_61(M, c, a, ...) M(c, a) ST_I_EACH_60(M, c, __VA_ARGS__)
#define ST_I_EACH_62(M, c, a, ...) M(c, a) ST_I_EACH_61(M, c, __VA_ARGS__)
#define ST_I_EACH_63(M, c, a, ...) M(c, a) ST_I_EACH_62(M, c, __VA_ARGS__)
#define ST_I_EACH_64(M, c, a, ...) M(c, a) ST_I_EACH_63(M, c, __VA_ARGS__)

#endif
