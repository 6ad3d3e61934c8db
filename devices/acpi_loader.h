// The ACPI tables for firmware that places them itself (SeaBIOS, OVMF): the tables as they would be at address 0, and a
// script that says how to move them. Written for fw_cfg; knows neither fw_cfg nor any memory.
// Ref: QEMU, hw/acpi/bios-linker-loader, "Dynamic linker/loader of ACPI tables".
#pragma once

#include <vector>

#include "devices/acpi_tables.h"

namespace callgate {

// The files' names in fw_cfg.
constexpr const char* kAcpiRsdpFile = "etc/acpi/rsdp";
constexpr const char* kAcpiTablesFile = "etc/acpi/tables";
constexpr const char* kAcpiLoaderFile = "etc/table-loader";

/// The contents of the three files.
struct AcpiLoaderFiles {
  std::vector<u8> rsdp;    ///< 36 bytes, pointers relative to the tables' file, checksums 0
  std::vector<u8> tables;  ///< every other table, in the same state
  std::vector<u8> script;  ///< commands of 128 bytes: allocate, add pointers, add checksums
};

/// The tables of build_acpi_tables(), whatever `config.address` is, ready for the firmware's linker.
AcpiLoaderFiles build_acpi_loader_files(AcpiConfig config);

}  // namespace callgate
