/* spacetimedb_arity.h - counting and walking macro arguments. Nothing here is for authors.
 *
 * ST_I_N(a, b, c)        the number of arguments, 1 to 256
 * ST_I_EACH(M, c, x...)  M(c, x1) M(c, x2) ... for up to 256 arguments, eight at a time
 * ST_I_IS1(x...)         A for exactly one argument, B for more
 * ST_I_IS2(x...)         NONE for one, A for exactly two, B for more
 *
 * From 257 to 320 arguments ST_I_N gives TOO_MANY, which ends in a readable message. */
#ifndef SPACETIMEDB_ARITY_H
#define SPACETIMEDB_ARITY_H

#define ST_I_CAT_(a, b) a##b
#define ST_I_CAT(a, b) ST_I_CAT_(a, b)

#define ST_I_EACH(M, c, ...) ST_I_CAT(ST_I_EACH_, ST_I_N(__VA_ARGS__))(M, c, __VA_ARGS__)
#define ST_I_EACH_TOO_MANY(...) \
    ST_I_ASSERT(0, "at most 256 columns, fields, variants or arguments: group some in an ST_STRUCT");

#define ST_I_SECOND(...) ST_I_SECOND_(__VA_ARGS__)
#define ST_I_SECOND_(a, b, ...) b
#define ST_I_IS1(...) ST_I_SECOND(ST_I_CAT(ST_I_IS1_, ST_I_N(__VA_ARGS__)), B, ~)
#define ST_I_IS1_1 ~, A
#define ST_I_IS2(...) ST_I_SECOND(ST_I_CAT(ST_I_IS2_, ST_I_N(__VA_ARGS__)), B, ~)
#define ST_I_IS2_1 ~, NONE
#define ST_I_IS2_2 ~, A

#define ST_I_N(...) ST_I_N_(__VA_ARGS__, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY, \
    256, 255, 254, 253, 252, 251, 250, 249, 248, 247, 246, 245, 244, 243, 242, 241, \
    240, 239, 238, 237, 236, 235, 234, 233, 232, 231, 230, 229, 228, 227, 226, 225, \
    224, 223, 222, 221, 220, 219, 218, 217, 216, 215, 214, 213, 212, 211, 210, 209, \
    208, 207, 206, 205, 204, 203, 202, 201, 200, 199, 198, 197, 196, 195, 194, 193, \
    192, 191, 190, 189, 188, 187, 186, 185, 184, 183, 182, 181, 180, 179, 178, 177, \
    176, 175, 174, 173, 172, 171, 170, 169, 168, 167, 166, 165, 164, 163, 162, 161, \
    160, 159, 158, 157, 156, 155, 154, 153, 152, 151, 150, 149, 148, 147, 146, 145, \
    144, 143, 142, 141, 140, 139, 138, 137, 136, 135, 134, 133, 132, 131, 130, 129, \
    128, 127, 126, 125, 124, 123, 122, 121, 120, 119, 118, 117, 116, 115, 114, 113, \
    112, 111, 110, 109, 108, 107, 106, 105, 104, 103, 102, 101, 100, 99, 98, 97, \
    96, 95, 94, 93, 92, 91, 90, 89, 88, 87, 86, 85, 84, 83, 82, 81, \
    80, 79, 78, 77, 76, 75, 74, 73, 72, 71, 70, 69, 68, 67, 66, 65, \
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
    _81, _82, _83, _84, _85, _86, _87, _88, _89, _90, _91, _92, _93, _94, _95, _96, \
    _97, _98, _99, _100, _101, _102, _103, _104, _105, _106, _107, _108, _109, _110, _111, _112, \
    _113, _114, _115, _116, _117, _118, _119, _120, _121, _122, _123, _124, _125, _126, _127, _128, \
    _129, _130, _131, _132, _133, _134, _135, _136, _137, _138, _139, _140, _141, _142, _143, _144, \
    _145, _146, _147, _148, _149, _150, _151, _152, _153, _154, _155, _156, _157, _158, _159, _160, \
    _161, _162, _163, _164, _165, _166, _167, _168, _169, _170, _171, _172, _173, _174, _175, _176, \
    _177, _178, _179, _180, _181, _182, _183, _184, _185, _186, _187, _188, _189, _190, _191, _192, \
    _193, _194, _195, _196, _197, _198, _199, _200, _201, _202, _203, _204, _205, _206, _207, _208, \
    _209, _210, _211, _212, _213, _214, _215, _216, _217, _218, _219, _220, _221, _222, _223, _224, \
    _225, _226, _227, _228, _229, _230, _231, _232, _233, _234, _235, _236, _237, _238, _239, _240, \
    _241, _242, _243, _244, _245, _246, _247, _248, _249, _250, _251, _252, _253, _254, _255, _256, \
    _257, _258, _259, _260, _261, _262, _263, _264, _265, _266, _267, _268, _269, _270, _271, _272, \
    _273, _274, _275, _276, _277, _278, _279, _280, _281, _282, _283, _284, _285, _286, _287, _288, \
    _289, _290, _291, _292, _293, _294, _295, _296, _297, _298, _299, _300, _301, _302, _303, _304, \
    _305, _306, _307, _308, _309, _310, _311, _312, _313, _314, _315, _316, _317, _318, _319, _320, n, ...) n

#define ST_I_EACH_1(M, c, a1) M(c, a1)
#define ST_I_EACH_2(M, c, a1, a2) M(c, a1) M(c, a2)
#define ST_I_EACH_3(M, c, a1, a2, a3) M(c, a1) M(c, a2) M(c, a3)
#define ST_I_EACH_4(M, c, a1, a2, a3, a4) M(c, a1) M(c, a2) M(c, a3) M(c, a4)
#define ST_I_EACH_5(M, c, a1, a2, a3, a4, a5) M(c, a1) M(c, a2) M(c, a3) M(c, a4) M(c, a5)
#define ST_I_EACH_6(M, c, a1, a2, a3, a4, a5, a6) M(c, a1) M(c, a2) M(c, a3) M(c, a4) M(c, a5) M(c, a6)
#define ST_I_EACH_7(M, c, a1, a2, a3, a4, a5, a6, a7) M(c, a1) M(c, a2) M(c, a3) M(c, a4) M(c, a5) M(c, a6) M(c, a7)
#define ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) M(c, a1) M(c, a2) M(c, a3) M(c, a4) M(c, a5) M(c, a6) M(c, a7) M(c, a8)
#define ST_I_EACH_9(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_1(M, c, __VA_ARGS__)
#define ST_I_EACH_10(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_2(M, c, __VA_ARGS__)
#define ST_I_EACH_11(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_3(M, c, __VA_ARGS__)
#define ST_I_EACH_12(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_4(M, c, __VA_ARGS__)
#define ST_I_EACH_13(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_5(M, c, __VA_ARGS__)
#define ST_I_EACH_14(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_6(M, c, __VA_ARGS__)
#define ST_I_EACH_15(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_7(M, c, __VA_ARGS__)
#define ST_I_EACH_16(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_8(M, c, __VA_ARGS__)
#define ST_I_EACH_17(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_9(M, c, __VA_ARGS__)
#define ST_I_EACH_18(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_10(M, c, __VA_ARGS__)
#define ST_I_EACH_19(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_11(M, c, __VA_ARGS__)
#define ST_I_EACH_20(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_12(M, c, __VA_ARGS__)
#define ST_I_EACH_21(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_13(M, c, __VA_ARGS__)
#define ST_I_EACH_22(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_14(M, c, __VA_ARGS__)
#define ST_I_EACH_23(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_15(M, c, __VA_ARGS__)
#define ST_I_EACH_24(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_16(M, c, __VA_ARGS__)
#define ST_I_EACH_25(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_17(M, c, __VA_ARGS__)
#define ST_I_EACH_26(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_18(M, c, __VA_ARGS__)
#define ST_I_EACH_27(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_19(M, c, __VA_ARGS__)
#define ST_I_EACH_28(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_20(M, c, __VA_ARGS__)
#define ST_I_EACH_29(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_21(M, c, __VA_ARGS__)
#define ST_I_EACH_30(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_22(M, c, __VA_ARGS__)
#define ST_I_EACH_31(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_23(M, c, __VA_ARGS__)
#define ST_I_EACH_32(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_24(M, c, __VA_ARGS__)
#define ST_I_EACH_33(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_25(M, c, __VA_ARGS__)
#define ST_I_EACH_34(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_26(M, c, __VA_ARGS__)
#define ST_I_EACH_35(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_27(M, c, __VA_ARGS__)
#define ST_I_EACH_36(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_28(M, c, __VA_ARGS__)
#define ST_I_EACH_37(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_29(M, c, __VA_ARGS__)
#define ST_I_EACH_38(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_30(M, c, __VA_ARGS__)
#define ST_I_EACH_39(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_31(M, c, __VA_ARGS__)
#define ST_I_EACH_40(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_32(M, c, __VA_ARGS__)
#define ST_I_EACH_41(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_33(M, c, __VA_ARGS__)
#define ST_I_EACH_42(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_34(M, c, __VA_ARGS__)
#define ST_I_EACH_43(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_35(M, c, __VA_ARGS__)
#define ST_I_EACH_44(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_36(M, c, __VA_ARGS__)
#define ST_I_EACH_45(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_37(M, c, __VA_ARGS__)
#define ST_I_EACH_46(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_38(M, c, __VA_ARGS__)
#define ST_I_EACH_47(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_39(M, c, __VA_ARGS__)
#define ST_I_EACH_48(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_40(M, c, __VA_ARGS__)
#define ST_I_EACH_49(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_41(M, c, __VA_ARGS__)
#define ST_I_EACH_50(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_42(M, c, __VA_ARGS__)
#define ST_I_EACH_51(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_43(M, c, __VA_ARGS__)
#define ST_I_EACH_52(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_44(M, c, __VA_ARGS__)
#define ST_I_EACH_53(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_45(M, c, __VA_ARGS__)
#define ST_I_EACH_54(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_46(M, c, __VA_ARGS__)
#define ST_I_EACH_55(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_47(M, c, __VA_ARGS__)
#define ST_I_EACH_56(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_48(M, c, __VA_ARGS__)
#define ST_I_EACH_57(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_49(M, c, __VA_ARGS__)
#define ST_I_EACH_58(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_50(M, c, __VA_ARGS__)
#define ST_I_EACH_59(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_51(M, c, __VA_ARGS__)
#define ST_I_EACH_60(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_52(M, c, __VA_ARGS__)
#define ST_I_EACH_61(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_53(M, c, __VA_ARGS__)
#define ST_I_EACH_62(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_54(M, c, __VA_ARGS__)
#define ST_I_EACH_63(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_55(M, c, __VA_ARGS__)
#define ST_I_EACH_64(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_56(M, c, __VA_ARGS__)
#define ST_I_EACH_65(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_57(M, c, __VA_ARGS__)
#define ST_I_EACH_66(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_58(M, c, __VA_ARGS__)
#define ST_I_EACH_67(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_59(M, c, __VA_ARGS__)
#define ST_I_EACH_68(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_60(M, c, __VA_ARGS__)
#define ST_I_EACH_69(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_61(M, c, __VA_ARGS__)
#define ST_I_EACH_70(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_62(M, c, __VA_ARGS__)
#define ST_I_EACH_71(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_63(M, c, __VA_ARGS__)
#define ST_I_EACH_72(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_64(M, c, __VA_ARGS__)
#define ST_I_EACH_73(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_65(M, c, __VA_ARGS__)
#define ST_I_EACH_74(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_66(M, c, __VA_ARGS__)
#define ST_I_EACH_75(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_67(M, c, __VA_ARGS__)
#define ST_I_EACH_76(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_68(M, c, __VA_ARGS__)
#define ST_I_EACH_77(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_69(M, c, __VA_ARGS__)
#define ST_I_EACH_78(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_70(M, c, __VA_ARGS__)
#define ST_I_EACH_79(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_71(M, c, __VA_ARGS__)
#define ST_I_EACH_80(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_72(M, c, __VA_ARGS__)
#define ST_I_EACH_81(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_73(M, c, __VA_ARGS__)
#define ST_I_EACH_82(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_74(M, c, __VA_ARGS__)
#define ST_I_EACH_83(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_75(M, c, __VA_ARGS__)
#define ST_I_EACH_84(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_76(M, c, __VA_ARGS__)
#define ST_I_EACH_85(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_77(M, c, __VA_ARGS__)
#define ST_I_EACH_86(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_78(M, c, __VA_ARGS__)
#define ST_I_EACH_87(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_79(M, c, __VA_ARGS__)
#define ST_I_EACH_88(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_80(M, c, __VA_ARGS__)
#define ST_I_EACH_89(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_81(M, c, __VA_ARGS__)
#define ST_I_EACH_90(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_82(M, c, __VA_ARGS__)
#define ST_I_EACH_91(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_83(M, c, __VA_ARGS__)
#define ST_I_EACH_92(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_84(M, c, __VA_ARGS__)
#define ST_I_EACH_93(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_85(M, c, __VA_ARGS__)
#define ST_I_EACH_94(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_86(M, c, __VA_ARGS__)
#define ST_I_EACH_95(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_87(M, c, __VA_ARGS__)
#define ST_I_EACH_96(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_88(M, c, __VA_ARGS__)
#define ST_I_EACH_97(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_89(M, c, __VA_ARGS__)
#define ST_I_EACH_98(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_90(M, c, __VA_ARGS__)
#define ST_I_EACH_99(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_91(M, c, __VA_ARGS__)
#define ST_I_EACH_100(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_92(M, c, __VA_ARGS__)
#define ST_I_EACH_101(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_93(M, c, __VA_ARGS__)
#define ST_I_EACH_102(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_94(M, c, __VA_ARGS__)
#define ST_I_EACH_103(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_95(M, c, __VA_ARGS__)
#define ST_I_EACH_104(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_96(M, c, __VA_ARGS__)
#define ST_I_EACH_105(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_97(M, c, __VA_ARGS__)
#define ST_I_EACH_106(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_98(M, c, __VA_ARGS__)
#define ST_I_EACH_107(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_99(M, c, __VA_ARGS__)
#define ST_I_EACH_108(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_100(M, c, __VA_ARGS__)
#define ST_I_EACH_109(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_101(M, c, __VA_ARGS__)
#define ST_I_EACH_110(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_102(M, c, __VA_ARGS__)
#define ST_I_EACH_111(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_103(M, c, __VA_ARGS__)
#define ST_I_EACH_112(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_104(M, c, __VA_ARGS__)
#define ST_I_EACH_113(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_105(M, c, __VA_ARGS__)
#define ST_I_EACH_114(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_106(M, c, __VA_ARGS__)
#define ST_I_EACH_115(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_107(M, c, __VA_ARGS__)
#define ST_I_EACH_116(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_108(M, c, __VA_ARGS__)
#define ST_I_EACH_117(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_109(M, c, __VA_ARGS__)
#define ST_I_EACH_118(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_110(M, c, __VA_ARGS__)
#define ST_I_EACH_119(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_111(M, c, __VA_ARGS__)
#define ST_I_EACH_120(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_112(M, c, __VA_ARGS__)
#define ST_I_EACH_121(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_113(M, c, __VA_ARGS__)
#define ST_I_EACH_122(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_114(M, c, __VA_ARGS__)
#define ST_I_EACH_123(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_115(M, c, __VA_ARGS__)
#define ST_I_EACH_124(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_116(M, c, __VA_ARGS__)
#define ST_I_EACH_125(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_117(M, c, __VA_ARGS__)
#define ST_I_EACH_126(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_118(M, c, __VA_ARGS__)
#define ST_I_EACH_127(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_119(M, c, __VA_ARGS__)
#define ST_I_EACH_128(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_120(M, c, __VA_ARGS__)
#define ST_I_EACH_129(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_121(M, c, __VA_ARGS__)
#define ST_I_EACH_130(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_122(M, c, __VA_ARGS__)
#define ST_I_EACH_131(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_123(M, c, __VA_ARGS__)
#define ST_I_EACH_132(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_124(M, c, __VA_ARGS__)
#define ST_I_EACH_133(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_125(M, c, __VA_ARGS__)
#define ST_I_EACH_134(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_126(M, c, __VA_ARGS__)
#define ST_I_EACH_135(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_127(M, c, __VA_ARGS__)
#define ST_I_EACH_136(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_128(M, c, __VA_ARGS__)
#define ST_I_EACH_137(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_129(M, c, __VA_ARGS__)
#define ST_I_EACH_138(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_130(M, c, __VA_ARGS__)
#define ST_I_EACH_139(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_131(M, c, __VA_ARGS__)
#define ST_I_EACH_140(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_132(M, c, __VA_ARGS__)
#define ST_I_EACH_141(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_133(M, c, __VA_ARGS__)
#define ST_I_EACH_142(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_134(M, c, __VA_ARGS__)
#define ST_I_EACH_143(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_135(M, c, __VA_ARGS__)
#define ST_I_EACH_144(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_136(M, c, __VA_ARGS__)
#define ST_I_EACH_145(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_137(M, c, __VA_ARGS__)
#define ST_I_EACH_146(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_138(M, c, __VA_ARGS__)
#define ST_I_EACH_147(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_139(M, c, __VA_ARGS__)
#define ST_I_EACH_148(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_140(M, c, __VA_ARGS__)
#define ST_I_EACH_149(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_141(M, c, __VA_ARGS__)
#define ST_I_EACH_150(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_142(M, c, __VA_ARGS__)
#define ST_I_EACH_151(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_143(M, c, __VA_ARGS__)
#define ST_I_EACH_152(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_144(M, c, __VA_ARGS__)
#define ST_I_EACH_153(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_145(M, c, __VA_ARGS__)
#define ST_I_EACH_154(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_146(M, c, __VA_ARGS__)
#define ST_I_EACH_155(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_147(M, c, __VA_ARGS__)
#define ST_I_EACH_156(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_148(M, c, __VA_ARGS__)
#define ST_I_EACH_157(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_149(M, c, __VA_ARGS__)
#define ST_I_EACH_158(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_150(M, c, __VA_ARGS__)
#define ST_I_EACH_159(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_151(M, c, __VA_ARGS__)
#define ST_I_EACH_160(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_152(M, c, __VA_ARGS__)
#define ST_I_EACH_161(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_153(M, c, __VA_ARGS__)
#define ST_I_EACH_162(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_154(M, c, __VA_ARGS__)
#define ST_I_EACH_163(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_155(M, c, __VA_ARGS__)
#define ST_I_EACH_164(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_156(M, c, __VA_ARGS__)
#define ST_I_EACH_165(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_157(M, c, __VA_ARGS__)
#define ST_I_EACH_166(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_158(M, c, __VA_ARGS__)
#define ST_I_EACH_167(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_159(M, c, __VA_ARGS__)
#define ST_I_EACH_168(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_160(M, c, __VA_ARGS__)
#define ST_I_EACH_169(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_161(M, c, __VA_ARGS__)
#define ST_I_EACH_170(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_162(M, c, __VA_ARGS__)
#define ST_I_EACH_171(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_163(M, c, __VA_ARGS__)
#define ST_I_EACH_172(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_164(M, c, __VA_ARGS__)
#define ST_I_EACH_173(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_165(M, c, __VA_ARGS__)
#define ST_I_EACH_174(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_166(M, c, __VA_ARGS__)
#define ST_I_EACH_175(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_167(M, c, __VA_ARGS__)
#define ST_I_EACH_176(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_168(M, c, __VA_ARGS__)
#define ST_I_EACH_177(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_169(M, c, __VA_ARGS__)
#define ST_I_EACH_178(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_170(M, c, __VA_ARGS__)
#define ST_I_EACH_179(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_171(M, c, __VA_ARGS__)
#define ST_I_EACH_180(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_172(M, c, __VA_ARGS__)
#define ST_I_EACH_181(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_173(M, c, __VA_ARGS__)
#define ST_I_EACH_182(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_174(M, c, __VA_ARGS__)
#define ST_I_EACH_183(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_175(M, c, __VA_ARGS__)
#define ST_I_EACH_184(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_176(M, c, __VA_ARGS__)
#define ST_I_EACH_185(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_177(M, c, __VA_ARGS__)
#define ST_I_EACH_186(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_178(M, c, __VA_ARGS__)
#define ST_I_EACH_187(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_179(M, c, __VA_ARGS__)
#define ST_I_EACH_188(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_180(M, c, __VA_ARGS__)
#define ST_I_EACH_189(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_181(M, c, __VA_ARGS__)
#define ST_I_EACH_190(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_182(M, c, __VA_ARGS__)
#define ST_I_EACH_191(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_183(M, c, __VA_ARGS__)
#define ST_I_EACH_192(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_184(M, c, __VA_ARGS__)
#define ST_I_EACH_193(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_185(M, c, __VA_ARGS__)
#define ST_I_EACH_194(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_186(M, c, __VA_ARGS__)
#define ST_I_EACH_195(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_187(M, c, __VA_ARGS__)
#define ST_I_EACH_196(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_188(M, c, __VA_ARGS__)
#define ST_I_EACH_197(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_189(M, c, __VA_ARGS__)
#define ST_I_EACH_198(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_190(M, c, __VA_ARGS__)
#define ST_I_EACH_199(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_191(M, c, __VA_ARGS__)
#define ST_I_EACH_200(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_192(M, c, __VA_ARGS__)
#define ST_I_EACH_201(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_193(M, c, __VA_ARGS__)
#define ST_I_EACH_202(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_194(M, c, __VA_ARGS__)
#define ST_I_EACH_203(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_195(M, c, __VA_ARGS__)
#define ST_I_EACH_204(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_196(M, c, __VA_ARGS__)
#define ST_I_EACH_205(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_197(M, c, __VA_ARGS__)
#define ST_I_EACH_206(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_198(M, c, __VA_ARGS__)
#define ST_I_EACH_207(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_199(M, c, __VA_ARGS__)
#define ST_I_EACH_208(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_200(M, c, __VA_ARGS__)
#define ST_I_EACH_209(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_201(M, c, __VA_ARGS__)
#define ST_I_EACH_210(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_202(M, c, __VA_ARGS__)
#define ST_I_EACH_211(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_203(M, c, __VA_ARGS__)
#define ST_I_EACH_212(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_204(M, c, __VA_ARGS__)
#define ST_I_EACH_213(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_205(M, c, __VA_ARGS__)
#define ST_I_EACH_214(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_206(M, c, __VA_ARGS__)
#define ST_I_EACH_215(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_207(M, c, __VA_ARGS__)
#define ST_I_EACH_216(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_208(M, c, __VA_ARGS__)
#define ST_I_EACH_217(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_209(M, c, __VA_ARGS__)
#define ST_I_EACH_218(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_210(M, c, __VA_ARGS__)
#define ST_I_EACH_219(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_211(M, c, __VA_ARGS__)
#define ST_I_EACH_220(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_212(M, c, __VA_ARGS__)
#define ST_I_EACH_221(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_213(M, c, __VA_ARGS__)
#define ST_I_EACH_222(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_214(M, c, __VA_ARGS__)
#define ST_I_EACH_223(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_215(M, c, __VA_ARGS__)
#define ST_I_EACH_224(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_216(M, c, __VA_ARGS__)
#define ST_I_EACH_225(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_217(M, c, __VA_ARGS__)
#define ST_I_EACH_226(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_218(M, c, __VA_ARGS__)
#define ST_I_EACH_227(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_219(M, c, __VA_ARGS__)
#define ST_I_EACH_228(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_220(M, c, __VA_ARGS__)
#define ST_I_EACH_229(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_221(M, c, __VA_ARGS__)
#define ST_I_EACH_230(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_222(M, c, __VA_ARGS__)
#define ST_I_EACH_231(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_223(M, c, __VA_ARGS__)
#define ST_I_EACH_232(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_224(M, c, __VA_ARGS__)
#define ST_I_EACH_233(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_225(M, c, __VA_ARGS__)
#define ST_I_EACH_234(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_226(M, c, __VA_ARGS__)
#define ST_I_EACH_235(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_227(M, c, __VA_ARGS__)
#define ST_I_EACH_236(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_228(M, c, __VA_ARGS__)
#define ST_I_EACH_237(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_229(M, c, __VA_ARGS__)
#define ST_I_EACH_238(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_230(M, c, __VA_ARGS__)
#define ST_I_EACH_239(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_231(M, c, __VA_ARGS__)
#define ST_I_EACH_240(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_232(M, c, __VA_ARGS__)
#define ST_I_EACH_241(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_233(M, c, __VA_ARGS__)
#define ST_I_EACH_242(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_234(M, c, __VA_ARGS__)
#define ST_I_EACH_243(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_235(M, c, __VA_ARGS__)
#define ST_I_EACH_244(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_236(M, c, __VA_ARGS__)
#define ST_I_EACH_245(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_237(M, c, __VA_ARGS__)
#define ST_I_EACH_246(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_238(M, c, __VA_ARGS__)
#define ST_I_EACH_247(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_239(M, c, __VA_ARGS__)
#define ST_I_EACH_248(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_240(M, c, __VA_ARGS__)
#define ST_I_EACH_249(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_241(M, c, __VA_ARGS__)
#define ST_I_EACH_250(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_242(M, c, __VA_ARGS__)
#define ST_I_EACH_251(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_243(M, c, __VA_ARGS__)
#define ST_I_EACH_252(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_244(M, c, __VA_ARGS__)
#define ST_I_EACH_253(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_245(M, c, __VA_ARGS__)
#define ST_I_EACH_254(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_246(M, c, __VA_ARGS__)
#define ST_I_EACH_255(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_247(M, c, __VA_ARGS__)
#define ST_I_EACH_256(M, c, a1, a2, a3, a4, a5, a6, a7, a8, ...) ST_I_EACH_8(M, c, a1, a2, a3, a4, a5, a6, a7, a8) ST_I_EACH_248(M, c, __VA_ARGS__)

#endif
