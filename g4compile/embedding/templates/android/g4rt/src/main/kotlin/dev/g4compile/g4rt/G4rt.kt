package dev.g4compile.g4rt

import java.io.Closeable
import java.io.File

/** A failure of libg4rt: `status` is a `g4rt_status` of g4rt.h. */
class G4rtException(val status: Int, words: ByteArray) : RuntimeException(words.decodeToString())

/** Given the text that each token makes certain; returns whether to go on. */
fun interface Take {
    fun take(text: ByteArray): Boolean
}

/**
 * A compiled model, and one conversation with it. Calls run as long as the model does: make them off the main thread, one
 * at a time. `cancel` may come from any thread, before `close`.
 *
 * @param bundle a folder in the app's files, as `File(context.filesDir, "bundle")`. It is mapped, and stays where it is.
 * @param threads 0: ONNX Runtime decides
 * @param capacity most tokens of the conversation; 0: as many as the bundle was compiled for
 */
class G4rt(bundle: File, threads: Int = 0, capacity: Int = 0) : Closeable {
    private var handle = open(bundle.path.encodeToByteArray(), threads, capacity)

    private fun handle() = handle.also { check(it != 0L) { "this G4rt is closed" } }

    /**
     * `json`: an object with `messages`, each `role` and `content`. The prompt of `generate`: of the whole conversation, so
     * `reset` comes before it.
     */
    fun renderChat(json: String): String = renderChat(handle(), json.encodeToByteArray()).decodeToString()

    /** Appends `prompt` and an answer to the conversation; the number of tokens. A temperature of 0 is greedy. */
    fun generate(
        prompt: String,
        maxNewTokens: Int = 256,
        temperature: Double = 0.7,
        topK: Int = 64,
        topP: Double = 0.95,
        take: Take,
    ): Int = generate(handle(), prompt.encodeToByteArray(), maxNewTokens, temperature, topK, topP, take)

    fun reset() = reset(handle())

    fun cancel() = cancel(handle())

    fun save(file: File) = save(handle(), file.path.encodeToByteArray())

    fun restore(file: File) = restore(handle(), file.path.encodeToByteArray())

    override fun close() {
        if (handle != 0L) close(handle)
        handle = 0L
    }

    private companion object {
        init {
            System.loadLibrary("onnxruntime")
            System.loadLibrary("g4jni")
        }

        @JvmStatic external fun open(folder: ByteArray, threads: Int, capacity: Int): Long
        @JvmStatic external fun close(handle: Long)
        @JvmStatic external fun renderChat(handle: Long, json: ByteArray): ByteArray
        @JvmStatic external fun generate(
            handle: Long, prompt: ByteArray, most: Int, temperature: Double, topK: Int, topP: Double, take: Take,
        ): Int
        @JvmStatic external fun reset(handle: Long)
        @JvmStatic external fun cancel(handle: Long)
        @JvmStatic external fun save(handle: Long, path: ByteArray)
        @JvmStatic external fun restore(handle: Long, path: ByteArray)
    }
}
