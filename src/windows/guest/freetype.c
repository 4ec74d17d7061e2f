/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A libfreetype.so.6 that can't do anything. Wine complains on stderr in every program when there is none, and the real
 * one would bring four more libraries for fonts that a container without a screen never draws.
 */
#define CANNOT_OPEN_RESOURCE 1

#define REFUSE(name) \
	int name(void); \
	int name(void) \
	{ \
		return CANNOT_OPEN_RESOURCE; \
	}

REFUSE(FT_Done_Face)
REFUSE(FT_Get_Char_Index)
REFUSE(FT_Get_First_Char)
REFUSE(FT_Get_Next_Char)
REFUSE(FT_Get_Sfnt_Name)
REFUSE(FT_Get_Sfnt_Name_Count)
REFUSE(FT_Get_Sfnt_Table)
REFUSE(FT_Get_WinFNT_Header)
REFUSE(FT_Init_FreeType)
REFUSE(FT_Library_Version)
REFUSE(FT_Load_Glyph)
REFUSE(FT_Load_Sfnt_Table)
REFUSE(FT_Matrix_Multiply)
REFUSE(FT_MulDiv)
REFUSE(FT_MulFix)
REFUSE(FT_New_Face)
REFUSE(FT_New_Memory_Face)
REFUSE(FT_Outline_Get_Bitmap)
REFUSE(FT_Outline_Get_CBox)
REFUSE(FT_Outline_Transform)
REFUSE(FT_Outline_Translate)
REFUSE(FT_Render_Glyph)
REFUSE(FT_Set_Charmap)
REFUSE(FT_Set_Pixel_Sizes)
REFUSE(FT_Vector_Length)
REFUSE(FT_Vector_Transform)
REFUSE(FT_Vector_Unit)
