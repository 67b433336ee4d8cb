import CG4rt
import Foundation

/// A failure of libg4rt.
public struct G4rtError: Error, LocalizedError {
    public let status: g4rt_status
    public let errorDescription: String?

    init(_ status: g4rt_status) {
        self.status = status
        errorDescription = String(cString: g4rt_last_error())
    }
}

private func check(_ status: g4rt_status) throws {
    if status != G4RT_OK { throw G4rtError(status) }
}

/// A result of variable size: its size is asked for first.
private func sized<Element>(
    _ zero: Element, _ call: (UnsafeMutablePointer<Element>?, Int, UnsafeMutablePointer<Int>) -> g4rt_status
) throws -> [Element] {
    var count = 0
    let asked = call(nil, 0, &count)
    if asked != G4RT_NO_ROOM { try check(asked) }
    var found = [Element](repeating: zero, count: count)
    let room = count
    if room > 0 { try found.withUnsafeMutableBufferPointer { try check(call($0.baseAddress, room, &count)) } }
    return found
}

/// A compiled model, and one conversation with it. Calls run as long as the model does: make them off the main thread, one
/// at a time. `cancel` may come from any thread.
public final class G4rt {
    private var model: OpaquePointer?
    private var session: OpaquePointer?

    /// `bundle`: the folder that `g4compile compile` wrote. `threads`, `capacity`: 0 for what libg4rt takes.
    public init(bundle: URL, threads: Int32 = 0, capacity: Int32 = 0) throws {
        var options = g4rt_options()
        options.threads = threads
        options.capacity = capacity
        // The properties stay nil until both calls are done: `deinit` may run where this throws.
        var opened: OpaquePointer?
        var made: OpaquePointer?
        try check(g4rt_open(bundle.path, &options, &opened))
        do {
            try check(g4rt_session_create(opened, &made))
        } catch {
            g4rt_close(opened)
            throw error
        }
        model = opened
        session = made
    }

    deinit {
        g4rt_session_destroy(session)
        g4rt_close(model)
    }

    public func encode(_ text: String) throws -> [Int32] {
        let bytes = Array(text.utf8CString.dropLast())
        return try sized(Int32(0)) { g4rt_encode(model, bytes, bytes.count, nil, 0, $0, $1, $2) }
    }

    /// `json`: an object with `messages`, each `role` and `content`. The prompt of `answer`.
    public func renderChat(_ json: String) throws -> String {
        let bytes = Array(json.utf8CString.dropLast())
        let text = try sized(CChar(0)) { g4rt_render_chat(model, bytes, bytes.count, $0, $1, $2) }
        return String(decoding: text.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Answers `prompt`, which is the whole conversation; the number of tokens. `take` is given the text that each token
    /// makes certain, and returns whether to go on. A temperature of 0 is greedy.
    @discardableResult
    public func answer(
        _ prompt: String, maxNewTokens: Int = 256, temperature: Double = 0.7, topK: Int32 = 64, topP: Double = 0.95,
        take: (String) -> Bool
    ) throws -> Int {
        let ids = try encode(prompt)
        try reset()
        var sampling = g4rt_sampling()
        sampling.temperature = temperature
        sampling.top_k = topK
        sampling.top_p = topP
        var generated = 0
        var ended = false
        let status = withoutActuallyEscaping(take) { escaping in
            var call: (String) -> Bool = { text in
                let more = escaping(text)
                ended = !more
                return more
            }
            return withUnsafeMutablePointer(to: &call) { user in
                g4rt_session_generate(
                    session, ids, ids.count, nil, 0, &sampling, max(0, maxNewTokens),
                    { user, _, text, bytes in
                        let take = user!.assumingMemoryBound(to: ((String) -> Bool).self).pointee
                        let piece = UnsafeRawBufferPointer(start: text, count: bytes)
                        return take(String(decoding: piece, as: UTF8.self)) ? 0 : 1
                    }, user, &generated)
            }
        }
        if !(status == G4RT_CANCELLED && ended) { try check(status) }
        return generated
    }

    public func reset() throws { try check(g4rt_session_reset(session)) }
    public func cancel() { g4rt_session_cancel(session) }
}
