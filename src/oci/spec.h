/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* placeholder: owned by the process-isolation work; replaced there */
#ifndef SILO_OCI_SPEC_H
#define SILO_OCI_SPEC_H
struct oci_spec;
#endif
